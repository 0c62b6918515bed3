"""How good is the next piece for a new listener, who posts 2 to 10 plays?

Listeners are divided into five parts. The sessions of the listeners of one part are held out: training and baselines
see the other four, and each session is then a new listener without anything before it, whose first n plays go through
the
user tower as a posted history does. The whole catalogue is ranked for the play after them, the pieces that were posted
among it: hit rate and reciprocal rank at 20, in percent. What no listener of training has played is neither posted, nor
asked for, nor in the catalogue, as in the figures that are published: beside what training has met the catalogue would
else hold just what is asked for.

    python benchmarks/quality/short_histories.py --sets thirtymusic lastfm1k               # parts 0, 1 and 2: the test
    python benchmarks/quality/short_histories.py --sets thirtymusic --parts 3 --seeds 0 -- KEY=VALUE   # validation

Settings of the model are chosen on part 3, and so are those of item-kNN and session co-occurrence, out of the grids of
`evaluation.tuning`. 30Music has sessions. Last.fm-1K has the order alone: there a session is 20 plays in a row, and of
a listener's some are drawn. Intervals are 95 %, paired, by the bootstrap over listeners.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np  # after the number of threads is set
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers import api
from towers.assembly.baselines import baselines_of
from towers.assembly.run import Run, load_run
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.config.overrides import quotation
from towers.data.loaders import UserBatches
from towers.data.sources.ordered_pairs import ORIGIN_S
from towers.data.store import Store
from towers.evaluation.harness import evaluate
from towers.evaluation.intervals import CONFIDENCE
from towers.evaluation.known import Known
from towers.evaluation.ranking.rankers import DenseRanker, Ranker
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.task import EvaluationTask
from towers.evaluation.tuning import Tuning
from towers.features.ragged import Ragged
from towers.manifest import read_json
from towers.training.embed import embed_users

PARTS, VALIDATION = 5, 3
POSTED = tuple(range(2, 11))
"""Plays that are posted."""
TUNED_ON = (2, 5, 10)
"""The numbers of plays that settings of baselines are chosen on: a third of the time."""
PLAYS_OF_A_SESSION, SESSIONS_OF_A_LISTENER = 20, 4
"""Settings of sessions that are cut out of a sequence: plays in a row, and sessions drawn of each listener."""
DAY_S = 86_400
METRICS = ("hit_rate@20", "mrr@20")
BASELINES = ("popularity", "item_knn", "sessions")
RESAMPLES = 2_000
CHOSEN = {
    "thirtymusic": ("optimizer.id_lr=0.006",),
    "lastfm1k": ("optimizer.id_lr=0.015", "trainer.max_epochs=12"),
}
"""Overrides of a set's training beside its experiment: chosen on part 3, docs/log.md has what else was tried."""
GRIDS = {"item_knn.neighbours": [20, 100, 500], "sessions.recent": [1, 2, 5, 20], "sessions.neighbours": [100, 500]}
"""Settings of baselines that are tried; recent=1 is added to what `configs/evaluation/default.yaml` has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plays:
    """All plays of a set, a listener's in order; all `[plays]`.

    Args:
        experiment: that the set is trained by.
        columns: content, and artist and album where they are known.
        user: number of the listener, from 0.
        session: number of the session among all sessions, from 0.
        second: when, in seconds; the place in the listener's sequence where there is no clock.
        has_clock: whether that is a time.
    """

    experiment: str
    columns: Mapping[str, pa.Array]
    user: np.ndarray
    session: np.ndarray
    second: np.ndarray
    has_clock: bool


def plays_of(name: str) -> Plays:
    """The plays of a set."""
    return {"thirtymusic": _thirtymusic, "lastfm1k": _lastfm, "made": _made}[name]()


def _thirtymusic() -> Plays:
    table = pq.read_table(Path(os.environ["TOWERS_SHARED_DATA"]) / "thirtymusic" / "events.parquet")
    table = table.sort_by([(name, "ascending") for name in ("user", "session", "ts")])
    return Plays(
        experiment="thirtymusic", columns={"content": table["track"], "artist": table["artist"]},
        user=_numbered(table["user"]), session=_numbered(table["session"]), second=table["ts"].to_numpy(),
        has_clock=True,
    )  # fmt: skip


def _lastfm() -> Plays:
    table = pq.read_table(Path(os.environ["TOWERS_SHARED_DATA"]) / "lastfm-1k" / "sequences.parquet").sort_by(
        [("user", "ascending"), ("pos", "ascending")]
    )
    columns = {"content": table["track"], "artist": table["artist"], "album": table["album"]}
    return _in_sequences("lastfm1k", columns, _numbered(table["user"]))


def _made() -> Plays:
    """40 listeners who walk through 60 contents in order, with leaps."""
    generator = np.random.default_rng(0)
    steps = generator.integers(1, 4, (40, 2 * PLAYS_OF_A_SESSION))
    contents = (generator.integers(0, 60, (40, 1)) + np.cumsum(steps, axis=1)) % 60
    columns = {"content": pa.array(contents.ravel()), "artist": pa.array(contents.ravel() // 6)}
    return _in_sequences("lastfm1k", columns, np.repeat(np.arange(40), steps.shape[1]))


def _in_sequences(experiment: str, columns: Mapping[str, Any], user: np.ndarray) -> Plays:
    """Sessions of `PLAYS_OF_A_SESSION` plays each, counted from a listener's first."""
    place = np.arange(len(user)) - np.searchsorted(user, user)
    session = _numbered(pa.array(user * len(user) + place // PLAYS_OF_A_SESSION))
    return Plays(
        experiment=experiment, columns=columns, user=user, session=session, second=ORIGIN_S + place, has_clock=False
    )


def _numbered(column: Any) -> np.ndarray:
    return np.unique(np.asarray(column), return_inverse=True)[1]


def prepared(plays: Plays, part: int, name: str, work: Path, keys: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Prepares a store in which training holds the listeners of all parts but one, and the test a listener for each of
    that one's sessions, moved behind the end of the training.

    Returns:
        The overrides that lead to it, and by listener of the test the listener whose session it is.
    """
    part_of_listener = np.random.default_rng(0).permutation(int(plays.user.max()) + 1) % PARTS
    is_held_out = (part_of_listener == part)[plays.user]
    contents = np.asarray(plays.columns["content"])
    is_met = np.isin(contents, contents[~is_held_out])
    is_kept = ~is_held_out | (is_met & np.isin(plays.session, _drawn(plays, is_held_out)))
    first, last = plays.second[~is_held_out].min(), plays.second[~is_held_out].max()
    test_start = last + DAY_S
    begin = np.full(plays.session.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(begin, plays.session, plays.second)
    second = np.where(is_held_out, test_start + plays.second - begin[plays.session], plays.second)
    users = [
        f"session-{session}" if out else f"listener-{user}"
        for out, session, user in zip(is_held_out, plays.session, plays.user, strict=True)
    ]
    columns = {"user": pa.array(users), "timestamp": pa.array(second), **plays.columns}
    path = work / "plays" / f"{name}-{part}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).filter(pa.array(is_kept)), path)
    cuts = {"validation_start": (first + last) // 2 + 1, "test_start": test_start}
    overrides = [
        f"experiment={plays.experiment}", "data=timed", f"data.name={name}-{part}", f"data.root={quotation(str(path))}",
        *(f"data.source.{column}={column}" for column in plays.columns), "data.source.user=user",
        *(f"data.split.{cut}='{np.datetime64(int(at), 's')}'" for cut, at in cuts.items()), "train_until=test",
        *(f"paths.{kind}={quotation(str(work / kind))}" for kind in ("stores", "runs")), "logger=csv",
        "placement=none",  # training has met all contents, and what it has met is not moved
        *CHOSEN.get(name, ()), *keys,
    ]  # fmt: skip
    api.prepare(*overrides)
    return overrides, {f"session-{s}": int(u) for s, u in zip(plays.session, plays.user, strict=True)}


def _drawn(plays: Plays, is_held_out: np.ndarray) -> np.ndarray:
    """Sessions of the listeners who are held out: all, or some of each where they are cut out of a sequence."""
    sessions, first = np.unique(plays.session[is_held_out], return_index=True)
    if plays.has_clock:
        return sessions
    user = plays.user[is_held_out][first]
    shuffled = np.random.default_rng(1).permutation(len(sessions))
    order = shuffled[np.argsort(user[shuffled], kind="stable")]
    rank = np.arange(len(order)) - np.searchsorted(user[order], user[order])
    return sessions[order[rank < SESSIONS_OF_A_LISTENER]]


class KnownOfSessions(Known):
    """The facts before the test of such a store, whose listeners of the test post the beginning of their session.

    Args:
        store: the prepared store.
        has_clock: whether its times are times.
        posted: how many plays, each a task of its own.
    """

    def __init__(self, store: Store, has_clock: bool, posted: Sequence[int] = POSTED):
        super().__init__(store, "test")
        self._has_clock = has_clock
        histories = store.histories
        lengths = np.diff(histories.offsets)
        is_new = histories.known_until("test") == histories.offsets[:-1]
        users = [np.flatnonzero(is_new & (lengths > number)) for number in posted]
        self.user_rows = np.concatenate(users)
        self.posted = np.repeat(posted, [len(rows) for rows in users])

    @cached_property
    def task(self) -> EvaluationTask:
        """A listener for each session and each number of plays that are posted of it."""
        store = self.store.trained_until("test")
        contents = np.asarray(store.histories.content_row)
        start = np.asarray(store.histories.offsets)[self.user_rows]
        lists = [contents[at : at + posted] for at, posted in zip(start, self.posted, strict=True)]
        base = super().task
        return EvaluationTask(
            user_rows=self.user_rows,
            histories=Ragged.from_lists(lists),
            targets=Ragged(np.arange(len(start) + 1), contents[start + self.posted]),
            is_candidate=base.is_candidate,
            is_cold=store.train_positives == 0,
            train_counts=store.train_positives,
            kind_codes=base.kind_codes,
            is_cold_user=np.ones(len(start), bool),
        )

    @cached_property
    def times_us(self) -> np.ndarray | None:
        """Null where the data has no clock: sessions are then counted."""
        return super().times_us if self._has_clock else None

    def vectors(self, run: Run, contents: np.ndarray) -> np.ndarray:
        """The task's listeners by the user tower, `[listeners, dim]`."""
        offsets, parts = self.store.histories.offsets, []
        for posted in np.unique(self.posted):
            rows = self.user_rows[self.posted == posted]
            batches = UserBatches(self.store, offsets[:-1] + posted, rows, run.max_length, run.max_tokens)
            parts.append(embed_users(run.two_tower, batches, torch.from_numpy(contents)))
        return np.concatenate(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Results of the sessions of one part or of several; all `[rows]`, a row for each session and number posted.

    Args:
        posted: plays.
        listener: whose session it is.
        figures: by ranker and metric, in percent.
    """

    posted: np.ndarray
    listener: np.ndarray
    figures: dict[str, dict[str, np.ndarray]]

    @classmethod
    def joined(cls, parts: list["Found"]) -> "Found":
        """Several parts."""
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts])
               for name in ("posted", "listener")},
            figures={ranker: {metric: np.concatenate([part.figures[ranker][metric] for part in parts])
                              for metric in METRICS} for ranker in parts[0].figures},
        )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """A row for each number posted: sessions, each ranker's means, and how far the model is ahead of the others."""
        return [self._row(posted, self.posted == posted) for posted in np.unique(self.posted).tolist()] + [
            self._row(None, np.ones(len(self.posted), bool))
        ]

    def _row(self, posted: int | None, at: np.ndarray) -> dict[str, Any]:
        own = self.figures["towers"]
        return {
            "posted": posted,
            "sessions": int(at.sum()),
            "listeners": len(np.unique(self.listener[at])),
            "figures": {
                ranker: {metric: float(values[at].mean()) for metric, values in of.items()}
                for ranker, of in self.figures.items()
            },
            "ahead": {
                ranker: {metric: ahead(own[metric][at] - of[metric][at], self.listener[at]) for metric in METRICS}
                for ranker, of in self.figures.items()
                if ranker != "towers"
            },
        }


def ahead(differences: np.ndarray, listener: np.ndarray) -> tuple[float, float, float]:
    """Returns their mean and its 95 % interval: listeners are drawn with replacement, each with all of their
    sessions."""
    of = np.unique(listener, return_inverse=True)[1]
    sums, counts = np.bincount(of, differences), np.bincount(of)
    drawn = np.random.default_rng(0).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(differences.mean()), float(low), float(high)


def figures(known: KnownOfSessions, ranker: Ranker) -> dict[str, np.ndarray]:
    """Returns by metric the figure of each listener of the task, in percent."""
    judged = evaluate(known.task, ranker, filter_seen=False, ks=(20,), min_users=1, list_length=1).slices["all"]
    assert len(judged) == len(known.posted), "every play that follows can be ranked"
    return {metric: 100 * judged.values[metric] for metric in METRICS}


def found_of(known: KnownOfSessions, listener_of: Mapping[str, int], rankers: Iterable[Ranker]) -> Found:
    """Ranks for the sessions of one part."""
    names = known.store.user_ids[known.user_rows]
    return Found(
        posted=known.posted,
        listener=np.array([listener_of[name] for name in names]),
        figures={ranker.name: figures(known, ranker) for ranker in rankers},
    )


def chosen_baselines(config: Any, known: KnownOfSessions, settings: Mapping[str, Any]) -> list[Ranker]:
    """The baselines with the settings chosen, fitted on what lies before the test."""
    builds = _builds(config)
    return [DenseRanker(known.task, known.give(builds[name](settings[name]))) for name in BASELINES]


def choose_baselines(config: Any, known: KnownOfSessions) -> dict[str, Any]:
    """Returns by baseline the best settings of its grid on the part of validation."""
    tuning = instantiate(config.evaluation.tuning, "evaluation.tuning")
    assert isinstance(tuning, Tuning)
    builds = _builds(config)
    return {
        name: dict(tuning.choose(name, builds[name], known, filter_seen=False, min_users=1).settings)
        for name in BASELINES
    }


def _builds(config: Any) -> Mapping[str, Callable[..., Any]]:
    return baselines_of(config.evaluation.baselines, instantiate(config.evaluation.tuning, "evaluation.tuning"))


def of_set(name: str, parts: list[int], seeds: list[int], work: Path, keys: list[str]) -> dict[str, Any]:
    """Trains and ranks for the sessions of some parts, each with a seed of its own."""
    plays = plays_of(name)
    grids = [f"evaluation.tuning.grid.{key}={values}" for key, values in GRIDS.items()]
    grids += ["evaluation.tuning.metric=hit_rate@20"]
    prepared(plays, VALIDATION, name, work, keys)
    store = Store.open(work / "stores" / f"{name}-{VALIDATION}")
    config = compose("evaluate", [f"experiment={plays.experiment}", *grids])
    settings = choose_baselines(config, KnownOfSessions(store, plays.has_clock, TUNED_ON))
    found, runs = [], []
    for part, seed in zip(parts, seeds, strict=True):
        overrides, listener_of = prepared(plays, part, name, work, keys)
        folder = api.train(*overrides, f"seed={seed}")
        run = load_run(folder, work / "stores")
        known, contents = KnownOfSessions(run.store, plays.has_clock), run.content_vectors()
        own = VectorRanker(known.task, "towers", known.vectors(run, contents), contents)
        found.append(found_of(known, listener_of, [own, *chosen_baselines(config, known, settings)]))
        seconds = read_json(folder / "finished.json")["core_seconds"]
        runs.append({"part": part, "seed": seed, "core_seconds": seconds, "rows": found[-1].rows()})
    return {"set": name, "baselines": settings, "runs": runs, "rows": Found.joined(found).rows()}


def as_table(result: Mapping[str, Any]) -> Table:
    """A row for each number posted."""
    rankers = list(result["rows"][0]["figures"])
    table = Table("posted", "sessions", *rankers, *(f"ahead of {name} (95 %)" for name in rankers[1:]),
                  title=f"{result['set']}: hit rate@20 / mrr@20, %")  # fmt: skip
    for row in result["rows"]:
        values = [" / ".join(f"{row['figures'][name][metric]:.1f}" for metric in METRICS) for name in rankers]
        differences = [
            "; ".join("{:+.1f} ({:+.1f} to {:+.1f})".format(*row["ahead"][name][metric]) for metric in METRICS)
            for name in rankers[1:]
        ]
        table.add_row(str(row["posted"] or "all"), str(row["sessions"]), *values, *differences)
    return table


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--sets", nargs="+", default=["thirtymusic"], choices=["thirtymusic", "lastfm1k", "made"])
    parser.add_argument("--parts", type=int, nargs="+", default=[0, 1, 2], help="whose listeners are held out, in turn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the training for each part")
    parser.add_argument("--work", type=Path, default=Path("worlds/short"), help="folder for stores and runs")
    parser.add_argument("overrides", nargs="*", help="configuration of the training, key=value")
    add_smallest(parser, sets=["made"], parts=[0], seeds=[0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keys = ["trainer.max_epochs=1", *arguments.overrides] if arguments.smallest else arguments.overrides
    results = []
    for name in arguments.sets:
        results.append(of_set(name, arguments.parts, arguments.seeds, arguments.work, keys))
        Console(width=200).print(as_table(results[-1]))
    name = "-".join(["short_histories", *arguments.sets])
    write_result(arguments, name, {"overrides": keys, "chosen": CHOSEN, "sets": results})


if __name__ == "__main__":
    os.environ.setdefault("TOWERS_SHARED_DATA", "../shared/data")
    main()
