"""Descriptions of contents for reports: title, artists, kind and genres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from towers.contract.schema import PLAYABLE_KINDS
from towers.evaluation.task import EvaluationTask


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentCard:
    """Description of one content.

    Args:
        title: title, or the id if there is none.
        artists: artists' names, or ids of artists without a row of their own.
        kind: one of `schema.KINDS`.
        genres: genres; may be empty.
        content_id: raw id.
        is_cold: whether it is a candidate without a play in the training period.
        train_positives: number of positive events in the training period.
    """

    title: str
    artists: tuple[str, ...]
    kind: str
    genres: tuple[str, ...]
    content_id: str
    is_cold: bool
    train_positives: int

    @property
    def line(self) -> str:
        """All fields in one line, for a tooltip."""
        parts = [self.title, ", ".join(self.artists), self.kind, ", ".join(self.genres), "cold" if self.is_cold else ""]
        return " · ".join(part for part in parts if part)


class ContentCards:
    """Cards by content row.

    Args:
        contents: contents table of the store or an export, with `content_id`, `kind`, `title`, `artist_ids` and
            `genres`.
        task: task with the contents' coldness and plays.
    """

    def __init__(self, contents: pa.Table, task: EvaluationTask):
        self._columns = contents.select(["content_id", "kind", "title", "artist_ids", "genres"])
        self._is_cold = task.is_cold & task.is_candidate
        self._counts = task.train_counts
        self._row_of_artist = {
            content_id: row
            for row, (content_id, kind) in enumerate(
                zip(contents["content_id"].to_pylist(), contents["kind"].to_pylist(), strict=True)
            )
            if kind == "artist"
        }

    @property
    def artist_plays(self) -> Int[np.ndarray, " contents"]:
        """Number of positive events in training of an artist's contents, at the artist's row; 0 at other rows."""
        found = np.zeros(len(self._columns), dtype=np.int64)
        kinds, artists = self._columns["kind"].to_pylist(), self._columns["artist_ids"].to_pylist()
        for count, kind, names in zip(self._counts, kinds, artists, strict=True):
            for artist in names or () if kind in PLAYABLE_KINDS else ():
                if artist in self._row_of_artist:
                    found[self._row_of_artist[artist]] += count
        return found

    def __getitem__(self, row: int) -> ContentCard:
        return self.at([row])[0]

    def at(self, rows: Sequence[int] | np.ndarray) -> tuple[ContentCard, ...]:
        """Returns the cards of some rows, in their order."""
        wanted = np.asarray(rows, dtype=np.int64)
        found = self._columns.take(pa.array(wanted)).to_pylist()
        return tuple(
            ContentCard(
                title=content["title"] or content["content_id"],
                # An artist's own row may list the artist itself.
                artists=tuple(
                    self._artist_name(artist)
                    for artist in content["artist_ids"] or ()
                    if artist != content["content_id"]
                ),
                kind=content["kind"],
                genres=tuple(content["genres"] or ()),
                content_id=content["content_id"],
                is_cold=bool(self._is_cold[row]),
                train_positives=int(self._counts[row]),
            )
            for row, content in zip(wanted.tolist(), found, strict=True)
        )

    def _artist_name(self, artist: str) -> str:
        row = self._row_of_artist.get(artist)
        return (None if row is None else self._columns["title"][row].as_py()) or artist
