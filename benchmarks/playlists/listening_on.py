"""Measures how well lists that go on from something agree with what people did: on repeat, similar artists, radio,
continuation of a playlist, and paths.

    python benchmarks/playlists/listening_on.py --export exports/current --data data/catalogue --as-of 2026-07-06
    python benchmarks/playlists/listening_on.py radio --set drift=0.1 --export EXPORT --data FOLDER --as-of 2026-07-06

Listeners are as of the day: histories, vectors, popularity and co-listening know nothing of what came later. Targets
are the events of the days from it on, in the raw tables of `--data`. Figures are means over listeners
(artists, playlists), differences are paired, with 95 % intervals.

- **on_repeat**: ndcg@10 of what a listener plays again within the days, beside the same pieces by how often they were
  chosen.
- **similar_artists**: ndcg@10, where an artist's gain is the cosine of the listens of half of the listeners (log of
  1 + n) before the day, or after it; co-listening knows the other half alone.
- **radio**: ndcg@25 of what is played in a session in an artist's or an album's context after its first piece.
  `utility and piece` adds 3 times the cosine with the piece, which was best as of 2026-06-29 and 07-06.
- **continuation**: R-precision and ndcg@100 of the second half of listeners' playlists after the first, on one half of
  the playlists (`--half 0` to choose weights by, `1` to report). Playlists have no dates, so `--as-of` says how much of
  the owners' histories is known. Other playlists are known in full.
- **path**: between random pairs of pieces, cosines of pieces with their points on the arc, and the longest step over
  the mean step.
"""

import json
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table
from scipy import sparse

from benchmarks.measuring import add_smallest, command_line, write_result
from benchmarks.playlists.past_export import PastExport
from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.contract.events import microseconds_of
from towers.evaluation.intervals import differences_to_each
from towers.evaluation.metrics import ndcg, precision
from towers.evaluation.result import ALL, Evaluation, SliceResult
from towers.features.ragged import Ragged
from towers.policies.listener import Listener
from towers.policies.playlists.continuation import ContinuationSettings, KnownPlaylists, continuation
from towers.policies.playlists.on_repeat import OnRepeatSettings, on_repeat
from towers.policies.playlists.path import path
from towers.policies.playlists.radio import RadioSettings, radio
from towers.policies.playlists.similar_artists import SimilarArtistsSettings, similar_artists
from towers.policies.rules import Candidates, Rules
from towers.policies.slate import pick
from towers.publishing.co_listening import co_listening
from towers.retrieval.co_listening import Neighbours
from towers.retrieval.query import Query

SEED = 0
NEVER = np.zeros(0, np.int64)
Figures = dict[str, float]
Lists = dict[str, Int[np.ndarray, " picks"]]
"""Lists by the name of their method; the measured one comes first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class After:
    """An export as of a day, and what was played in the days from it on.

    Args:
        export: export as of the day.
        data: folder of the raw tables.
        as_of: day.
        days: number of days.
    """

    export: PastExport
    data: Path
    as_of: date
    days: int

    @cached_property
    def events(self) -> dict[str, np.ndarray]:
        """Events by listener and time: rows of listeners and contents (-1 for none), whether it was a play, session
        and context."""
        start = microseconds_of(self.export.as_of)
        table = ds.dataset(self.data / schema.EVENTS).to_table()
        times = table["timestamp"].to_numpy().astype("datetime64[us]").astype(np.int64)
        is_in = (times >= start) & (times < start + self.days * DAY_US)
        table, times = table.filter(pa.array(is_in)), times[is_in]
        users = self.export.user_ids.rows(table["user_id"])
        order = np.lexsort((times, users))
        return {
            "user": users[order],
            "content": self.export.content_ids.rows(table["content_id"])[order],
            "is_play": pc.call_function("equal", [table["action"], "play"]).to_numpy()[order],
            "session": table["session_id"].to_numpy()[order],
            "context": table["context"].to_numpy()[order],
        }

    @cached_property
    def near(self) -> Neighbours:
        """Neighbours by co-listening."""
        assert self.export.co_listening is not None
        return self.export.co_listening

    @cached_property
    def may_come(self) -> Int[np.ndarray, " contents"]:
        """Rows of contents that can be played and are released on that day."""
        return np.flatnonzero(self.export.catalogue.passing(schema.PLAYABLE_KINDS, True, self.export.last_day))

    @cached_property
    def num_chosen(self) -> sparse.csr_array:
        """`[listeners, contents]`, how often each listener chose each content before the day."""
        chosen = self.export.chosen_lists
        shape = (len(chosen), len(self.export.contents))
        return sparse.coo_array((np.ones(len(chosen.values)), (chosen.list_of_value, chosen.values)), shape).tocsr()

    def best(self, scores: Float[np.ndarray, " contents"], k: int, without: np.ndarray = NEVER) -> np.ndarray:
        """Returns the `k` rows of `may_come` with the highest scores, except `without`."""
        rows = self.may_come[~np.isin(self.may_come, without)]
        return rows[np.argsort(-scores[rows], kind="stable")[:k]]


def sessions(after: After) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yields listener, first content and later plays of each session in the context of an artist or an album."""
    events = after.events
    kept = np.isin(events["context"], ["artist", "album"]) & (events["content"] >= 0)
    names, user, content, is_play = (events[key][kept] for key in ("session", "user", "content", "is_play"))
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        seed, rest = int(content[start]), slice(start + 1, stop)
        targets = np.setdiff1d(content[rest][is_play[rest]], [seed])
        if len(targets):
            yield int(user[start]), seed, targets


def radio_figures(after: After, settings: RadioSettings) -> Iterator[tuple[int, dict[str, Figures]]]:
    """Yields the listener and the figures of each list, session by session."""
    export, query = after.export, Query(k=25, include_heard=True, skip_cooldown_days=0)
    vectors, everything = np.asarray(export.vectors), np.arange(len(export.contents))
    free = replace(settings, first_closeness=1.0, drift=0.0, max_in_row=query.k)
    for user, seed, targets in sessions(after):
        listener, seeds = Listener.of_row(export, user), np.array([seed])
        utility, closeness = listener.utility(everything), vectors @ vectors[seed]
        own = after.num_chosen[[user]].toarray()[0]
        together = np.zeros(len(export.contents))
        together[after.near.rows[seed]] = after.near.weights[seed]
        lists: Lists = {
            "radio": radio(export, seeds, listener=listener, query=query, settings=settings).rows,
            "radio without rules": radio(export, seeds, listener=listener, query=query, settings=free).rows,
            "utility and piece": after.best(utility + 3.0 * closeness, 25, seeds),
            "own plays and piece": after.best(own + closeness, 25, seeds),
            "utility": after.best(utility, 25, seeds),
            "own plays": after.best(own + 1e-6 * export.facts.recent_positives, 25, seeds),
            "radio for nobody": radio(export, seeds, query=query, settings=settings).rows,
            "co-listening": after.best(together, 25, seeds),
            "piece": after.best(closeness, 25, seeds),
        }
        yield user, {name: {"ndcg@25": _ndcg(rows, targets, 25)} for name, rows in lists.items()}


def on_repeat_figures(after: After, settings: OnRepeatSettings) -> Iterator[tuple[int, dict[str, Figures]]]:
    """Yields the listener and the figures of each list, listener by listener."""
    events = after.events
    for user in np.unique(events["user"]).tolist():
        listener = Listener.of_row(after.export, user)
        is_theirs = (events["user"] == user) & events["is_play"]
        targets = np.intersect1d(events["content"][is_theirs], listener.chosen)
        if not len(targets):
            continue
        lists = {"on repeat": on_repeat(listener, settings=settings).rows}
        free = replace(settings, k=len(after.export.contents), max_per_artist=len(after.export.contents))
        among = np.sort(on_repeat(listener, settings=free).rows)
        own, lately = after.num_chosen[[user]].toarray()[0][among], _chosen_lately(listener, settings.days)[among]
        rules, artists = Rules(k=settings.k, max_per_artist=settings.max_per_artist), after.export.facts.artists
        for name, scores in {"plays lately": lately + 1e-3 * own, "plays": own}.items():
            candidates = Candidates.of(among, scores, artists)
            lists[name] = candidates.rows[pick(candidates, rules).places]
        yield user, {name: {"ndcg@10": _ndcg(rows, targets, 10)} for name, rows in lists.items()}


def _chosen_lately(listener: Listener, days: float) -> Float[np.ndarray, " contents"]:
    events, until_us = listener.standing.events, listener.standing.until_us
    assert until_us is not None
    is_recent = events.is_positive & (events.timestamp_us >= until_us - days * DAY_US)
    return np.bincount(events.content_row[is_recent], minlength=len(listener.export.contents)).astype(np.float64)


def similar_artists_figures(after: After, settings: SimilarArtistsSettings) -> Iterator[tuple[int, dict[str, Figures]]]:
    """Yields the artist and the figures of each list, artist by artist."""
    export = copy(after.export)  # this copy knows the listening of half of the listeners
    is_known = np.random.default_rng(SEED).random(len(export.user_ids)) < 0.5
    known = export.chosen_lists.where(is_known[export.chosen_lists.list_of_value])
    half = co_listening(export, known)
    export.co_listening = half
    artists = np.flatnonzero(export.catalogue.of_kinds(("artist",)))
    events = after.events
    later = sparse.coo_array(
        (events["is_play"].astype(float), (events["user"], np.maximum(events["content"], 0))), after.num_chosen.shape
    ).tocsr()
    gains = {name: _likeness(export, plays[~is_known], artists)
             for name, plays in (("before", after.num_chosen), ("after", later))}  # fmt: skip
    for place, artist in enumerate(artists.tolist()):
        near = half.rows[artist]
        cosines = export.vectors[artists] @ export.vectors[artist]
        lists = {
            "similar artists": similar_artists(export, artist, settings=settings).rows,
            "co-listening": near[near >= 0][:10],
            "vectors": artists[np.argsort(-cosines, kind="stable")][1:11],
        }
        found: dict[str, Figures] = {name: {} for name in lists}
        for when, gain in gains.items():
            ideal = _discounted(np.sort(gain[place])[::-1][:10])
            for name, rows in lists.items():
                got = _discounted(gain[place][np.searchsorted(artists, rows)])
                found[name][f"ndcg@10 {when}"] = got / ideal if ideal else np.nan
        yield artist, found


def _discounted(gains: Float[np.ndarray, " ranks"]) -> float:
    return float(gains @ (1 / np.log2(np.arange(2, len(gains) + 2))))


def _likeness(export: PastExport, plays: sparse.csr_array, artists: np.ndarray) -> Float[np.ndarray, "artists artists"]:
    """Returns cosines of artists by the log of 1 + how often each listener chose them; 0 for an artist that fewer than
    five listeners chose."""
    by = export.artist_rows
    shape = (len(by), len(export.contents))
    columns = sparse.coo_array((np.ones(len(by.values)), (by.list_of_value, by.values)), shape).tocsc()[:, artists]
    amounts = np.log1p((plays @ columns).toarray())
    norms = np.linalg.norm(amounts, axis=0)
    cosines = (amounts.T @ amounts) / np.maximum(norms[:, None] * norms, 1e-12)
    np.fill_diagonal(cosines, 0)
    is_rare = (amounts > 0).sum(axis=0) < 5
    cosines[:, is_rare] = 0
    cosines[is_rare] = 0
    return cosines


def continuation_figures(
    after: After, settings: ContinuationSettings, half: int
) -> Iterator[tuple[int, dict[str, Figures]]]:
    """Yields the playlist and the figures of each list, for playlists of listeners."""
    export, query = after.export, Query(k=100, include_heard=True, released_by=date.max)
    table = ds.dataset(after.data / schema.PLAYLISTS).to_table()
    rows = [export.content_ids.rows(members) for members in table["content_ids"].to_pylist()]
    playlists = Ragged.from_lists([members[members >= 0] for members in rows])
    owners = export.user_ids.rows(table["owner_id"])
    ours = np.flatnonzero(pc.call_function("equal", [table["curator"], "listener"]).to_numpy(zero_copy_only=False))
    vectors, num_contents = np.asarray(export.vectors), len(export.contents)
    known = KnownPlaylists(playlists, num_contents)
    for place in np.sort(np.random.default_rng(SEED).permutation(ours)[half::2]).tolist():
        members = playlists[place].astype(np.int64)
        given, targets = members[: len(members) // 2], members[len(members) // 2 :]
        listener = Listener.of_row(export, int(owners[place]))
        everything = np.arange(num_contents)
        together = np.zeros(num_contents)
        np.add.at(together, after.near.rows[given], after.near.weights[given])
        asked: dict[str, Any] = {"playlists": known, "without": place, "query": query, "settings": settings}
        lists = {
            "continuation": continuation(export, given, listener=listener, **asked).rows,
            "without the owner": continuation(export, given, **asked).rows,
            "mean": after.best(vectors @ vectors[given].mean(axis=0), 100, given),
            "co-listening": after.best(together, 100, given),
            "playlists": after.best(known.like(given, place).shares(everything), 100, given),
        }
        found = {
            name: {"R-precision": _precision(rows, targets), "ndcg@100": _ndcg(rows, targets, 100)}
            for name, rows in lists.items()
        }
        yield place, found


def path_figures(after: After, pairs: int) -> Iterator[tuple[int, dict[str, Figures]]]:
    """Yields one pair after the other."""
    random, export = np.random.default_rng(SEED), after.export
    for pair in range(pairs):
        start, end = random.choice(after.may_come, 2, replace=False).tolist()
        found = path(export, start, end, steps=10)
        vectors = export.vectors[found.rows].astype(np.float64)
        steps = np.arccos(np.clip((vectors[1:] * vectors[:-1]).sum(axis=1), -1, 1))
        longest, near = float(steps.max() / steps.mean()), float(found.scores[1:-1].mean())
        yield pair, {"path": {"cosine with the arc": near, "longest over mean step": longest}}


def _ndcg(rows: np.ndarray, targets: np.ndarray, k: int) -> float:
    return float(ndcg(np.isin(rows, targets)[None], np.array([len(targets)]), k)[0])


def _precision(rows: np.ndarray, targets: np.ndarray) -> float:
    return float(precision(np.isin(rows, targets)[None], np.array([len(targets)]), len(targets))[0])


def evaluations(found: list[tuple[int, dict[str, Figures]]]) -> list[Evaluation]:
    """Means by whom the lists are for, one evaluation a ranker."""
    rows, figures = zip(*found, strict=True)
    groups, place = np.unique(rows, return_inverse=True)
    result = []
    for ranker, first in figures[0].items():
        values = {}
        for metric in first:
            each = np.array([one[ranker][metric] for one in figures])
            values[metric] = np.bincount(place, each) / np.bincount(place)
        whole = SliceResult(positions=np.arange(len(groups)), values=values)
        result.append(Evaluation(ranker=ranker, user_rows=groups, slices={ALL: whole}, min_users=1))
    return result


def show(title: str, results: list[Evaluation]) -> dict[str, Any]:
    """A table of means, with the first one's differences to the others."""
    first, *others = results
    keys = list(first.means())
    differences = differences_to_each(first, others, keys) if others else {}
    table = Table(f"{title} ({len(first.user_rows):,})", *keys)
    for one in results:
        cells = [f"{one.means()[key]:.4f}" for key in keys]
        if one is not first:
            found = differences[one.ranker]
            cells = [
                f"{cell} ({found[key].low:+.4f} to {found[key].high:+.4f})"
                for cell, key in zip(cells, keys, strict=True)
            ]
        table.add_row(one.ranker, *cells)
    Console(width=150).print(table)
    less = {name: {key: asdict(one) for key, one in found.items()} for name, found in differences.items()}
    return {"means": {one.ranker: one.means() for one in results}, "first_less": less}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--export", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the raw tables")
    parser.add_argument("--as-of", type=date.fromisoformat, required=True)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--half", type=int, choices=(0, 1), default=0)
    parser.add_argument("--set", nargs="*", default=[], help="settings of the kind, as name=number")
    add_smallest(parser, days=7)
    arguments = parser.parse_args()
    export = PastExport(arguments.export, arguments.as_of)
    after = After(export=export, data=arguments.data, as_of=arguments.as_of, days=arguments.days)
    changes = {name: json.loads(number) for name, _, number in (one.partition("=") for one in arguments.set)}
    results = {}
    for kind in arguments.kinds:
        found = list(KINDS[kind](after, arguments, changes))
        if found:
            results[kind] = show(kind, evaluations(found))
        else:
            print(f"{kind}: there is nothing to judge it by")
    content = {"as_of": str(arguments.as_of), "days": arguments.days, "half": arguments.half, "settings": changes}
    write_result(arguments, f"listening_on-{arguments.as_of}", {**content, "figures": results})


KINDS: dict[str, Callable[..., Iterator[tuple[int, dict[str, Figures]]]]] = {
    "on_repeat": lambda after, _, changes: on_repeat_figures(after, replace(OnRepeatSettings(), **changes)),
    "similar_artists": lambda after, _, changes: similar_artists_figures(
        after, replace(SimilarArtistsSettings(), **changes)
    ),
    "radio": lambda after, _, changes: radio_figures(after, replace(RadioSettings(), **changes)),
    "continuation": lambda after, given, changes: continuation_figures(
        after, replace(ContinuationSettings(), **changes), given.half
    ),
    "path": lambda after, given, changes: path_figures(after, 20 if given.smallest else 300),
}

if __name__ == "__main__":
    main()
