"""Contents and listeners by a part of their name: without case and accents, in Arrow, over all rows."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Integer

from towers.retrieval.export import Export

BETWEEN = "\n"
"""Separator of the names of a row, so that no match spans two of them."""


class NameSearch:
    """Finds rows by their names.

    A row is found if each word of a query occurs somewhere in its names. Rows are ranked: the title equals the query,
    the title begins with it, a word of the title begins with it, another name begins with it, the rest; within a rank
    by weight, greatest first, then by row.

    Args:
        titles: `[rows]`, text.
        others: `[rows]`, further names, each after a `BETWEEN`.
        weights: `[rows]`, such as how often a content was played.
    """

    def __init__(self, titles: pa.Array, others: pa.Array, weights: Integer[np.ndarray, " rows"]):
        self._titles = without_case(titles)
        self._names = _call("binary_join_element_wise", self._titles, without_case(others), "")
        self._ranks = np.empty(len(weights), np.int64)  # by weight, then by row
        self._ranks[np.argsort(-weights, kind="stable")] = np.arange(len(weights))

    @classmethod
    def of_contents(cls, export: Export) -> "NameSearch":
        """Makes a search of contents by title, artists' names and id."""
        contents = export.contents
        ids = contents["content_id"].combine_chunks()
        titles = _call("coalesce", contents["title"].combine_chunks(), ids)
        others = _call("binary_join_element_wise", pa.scalar(""), _artist_names(contents), ids, BETWEEN)
        is_counted = "train_positives" in contents.column_names  # not in format 1
        weights = contents["train_positives"].to_numpy() if is_counted else np.zeros(len(ids), np.int64)
        return cls(titles, others, weights.astype(np.int64))

    @classmethod
    def of_users(cls, export: Export) -> "NameSearch":
        """Makes a search of listeners by id."""
        ids = export.users["user_id"].combine_chunks()
        return cls(ids, pa.repeat("", len(ids)), np.zeros(len(ids), np.int64))

    def find(
        self, query: str, k: int, allowed: Bool[np.ndarray, " rows"] | None = None
    ) -> Integer[np.ndarray, " found"]:
        """Returns at most `k` rows, best first; an empty query finds all.

        Args:
            query: words to look for.
            k: greatest number of rows.
            allowed: `[rows]`, bool: rows to search; null: all.
        """
        wanted = " ".join(without_case(pa.array([query], pa.string()))[0].as_py().split())
        rows = np.arange(len(self._titles)) if allowed is None else np.flatnonzero(allowed)
        begin = self._keep(rows, "starts_with", self._titles, wanted)
        if len(begin) >= k:  # the rest would come after these
            return self._best(begin, self._tiers(begin, wanted), k)
        for word in wanted.split():
            rows = self._keep(rows, "match_substring", self._names, word)
        return self._best(rows, self._tiers(rows, wanted), k)

    def _keep(self, rows: np.ndarray, function: str, texts: pa.Array, pattern: str) -> np.ndarray:
        """Returns the rows whose text matches; if they are few, only their texts are compared."""
        if not pattern:
            return rows
        if len(rows) < len(texts) // 4:
            return rows[_matches(function, texts.take(pa.array(rows)), pattern)]
        return rows[_matches(function, texts, pattern)[rows]]

    def _tiers(self, rows: np.ndarray, wanted: str) -> np.ndarray:
        """Returns how well the names of each row match; 0 is best."""
        if not wanted:
            return np.zeros(len(rows), np.int64)
        titles, names = self._titles.take(pa.array(rows)), self._names.take(pa.array(rows))
        better = [
            np.asarray(_call("equal", titles, pa.scalar(wanted))).astype(bool),
            _matches("starts_with", titles, wanted),
            _matches("match_substring", titles, f" {wanted}"),
            _matches("match_substring", names, f"{BETWEEN}{wanted}"),
        ]
        return np.select(better, range(len(better)), len(better))

    def _best(self, rows: np.ndarray, tiers: np.ndarray, k: int) -> np.ndarray:
        keys = tiers * len(self._ranks) + self._ranks[rows]
        among = np.argpartition(keys, k)[:k] if k < len(keys) else np.arange(len(keys))
        return rows[among[np.argsort(keys[among])]]


def without_case(texts: pa.Array) -> pa.Array:
    """Returns texts in lower case, without accents and apostrophes, in plain compatibility forms; null stays null."""
    plain = _call("utf8_normalize", texts, options=pc.Utf8NormalizeOptions("NFKD"))
    marks = pc.ReplaceSubstringOptions(r"\p{Mn}|['’`´]", "")
    return _call("utf8_lower", _call("replace_substring_regex", plain, options=marks))


def _artist_names(contents: pa.Table) -> pa.Array:
    """Returns each content's artists' names; the id for an artist without a row; empty text without artists."""
    listed = contents["artist_ids"].combine_chunks()
    lengths = _call("coalesce", _call("list_value_length", listed), 0)
    flat = _call("list_flatten", listed)
    artists = contents.filter(_call("equal", contents["kind"], pa.scalar("artist")))
    places = _call("index_in", flat, options=pc.SetLookupOptions(value_set=artists["content_id"].combine_chunks()))
    names = _call("coalesce", artists["title"].combine_chunks().take(places), flat)
    offsets = np.concatenate([[0], np.cumsum(np.asarray(lengths))]).astype(np.int32)
    return _call("binary_join", pa.ListArray.from_arrays(pa.array(offsets), names), BETWEEN)


def _matches(function: str, texts: pa.Array, pattern: str) -> np.ndarray:
    return np.asarray(_call(function, texts, options=pc.MatchSubstringOptions(pattern))).astype(bool)


def _call(function: str, *arguments: Any, options: Any = None) -> Any:
    """Calls Arrow's function of this name; texts and integers among the arguments become scalars."""
    plain = [pa.scalar(argument) if isinstance(argument, (str, int)) else argument for argument in arguments]
    return pc.call_function(function, plain, options)
