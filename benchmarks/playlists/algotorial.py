"""Measures what lists from an editor's pool are worth, and what it costs to give each of its contents some attention.

    python benchmarks/playlists/algotorial.py --export exports/current --as-of 2026-07-14

The pools are the editors' playlists. Histories end before `--as-of`: listeners' vectors are
encoded again, counts taken again, item-kNN fitted to what was played before. The export itself must have been trained
before that day. A content that is not out on that day is no candidate. Judged is ndcg@30 of each pool's order by what
the listener plays in the two weeks from then on:

- `all`: of all contents of the pool,
- `first`: of those that the listener has never met (no event of any kind), by their plays of these,
- `first of all`: by the same plays as `first`, in the order of all contents, where what is familiar stands in the way.

A listener's figure is the mean over the pools of which they play something, and over exports where several are given
(one of each seed). Intervals are 95 %, from 1,000 bootstrap samples of listeners, paired. The chance of a listen and
the mixture are those of the export: they were fitted on the weeks from the end of its training on, so only a day after
those weeks is a test.

The floor's price is that of lists of 30 under weights for `--floor` of equal attention, made from all listeners as they
stand on that day, against lists without.
"""

from datetime import UTC, date, datetime
from pathlib import Path

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float
from rich.console import Console
from rich.table import Table
from scipy import sparse

from benchmarks.measuring import add_smallest, command_line, ratio, write_result
from towers.contract.durations import DAY_US
from towers.contract.events import microseconds_of
from towers.errors import UserError
from towers.evaluation.baselines.heard import cosine_neighbours, heard_matrix
from towers.evaluation.metrics import ndcg
from towers.features.content_facts import RECENT_DAYS, ContentFacts
from towers.features.ragged import Ragged
from towers.policies.listener import Listener
from towers.policies.playlists.algotorial import OpenPool
from towers.policies.playlists.exposure import attention, fitted
from towers.policies.playlists.pool_file import pools_of_editors
from towers.retrieval.encoders import EVENT_COLUMNS, Events
from towers.retrieval.export import Export
from towers.retrieval.query import Standing

DAYS, K, NEIGHBOURS = 14, 30, 200
OURS, OWN, POPULAR, KNN = "chance of a listen", "own plays", "popularity", "item-kNN"
AIMS = (("all", OWN, 1.08), ("first", POPULAR, 1.25), ("first", KNN, 1.05))
PRICE = 0.005
ENCODED_TOGETHER = 64

Scores = dict[str, Float[np.ndarray, "listeners contents"]]


class Cut:
    """An export whose listeners are as they were before a day, and what they played after it.

    Args:
        folder: of the export.
        day: histories end before it, in UTC.
        users: at most so many listeners.
    """

    def __init__(self, folder: Path, day: date, users: int):
        self.export = Export(folder)
        start = microseconds_of(datetime(day.year, day.month, day.day, tzinfo=UTC))
        if (self.export.provenance.trained_until_us or 0) > start:
            raise UserError(f"--as-of {day}: the export has seen what came after it; give a later day")
        rows = range(min(len(self.export.user_ids), users))
        events = [self.export.events(row) for row in rows]
        past = [_between(each, 0, start) for each in events]
        after = [_between(each, start, start + DAYS * DAY_US) for each in events]
        recent = [_between(each, start - RECENT_DAYS * DAY_US, start).chosen_rows for each in past]
        # The export as it would have been on that day, as far as lists read it.
        num_contents = len(self.export.contents)
        counts = np.bincount(np.concatenate(recent), minlength=num_contents)
        self.export.facts = ContentFacts(artists=self.export.facts.artists, recent_positives=counts)
        self.export.until_us, self.export.last_day = start, day
        vectors = np.zeros((len(rows), self.export.dim), np.float32)
        by_length = np.argsort([len(each) for each in past], kind="stable")
        for some in np.array_split(by_length, max(len(rows) // ENCODED_TOGETHER, 1)):
            vectors[some] = self.export.encoder.encode_batch([past[row] for row in some], self.export.user_codes[some])
        self.listeners = [
            Listener(export=self.export, vector=vectors[row], standing=Standing.of(past[row], start)) for row in rows
        ]
        self.played = _counts([each.chosen_rows for each in past], num_contents)
        self.met = _counts([listener.met for listener in self.listeners], num_contents) > 0
        self.plays = _counts([each.chosen_rows for each in after], num_contents) > 0
        self.vectors = vectors

    def scores(self) -> Scores:
        """Returns scores of the rankers that know all contents at once; own plays of equal number are in the order of
        popularity."""
        heard = heard_matrix(Ragged.from_lists([listener.chosen for listener in self.listeners]), self.met.shape[1])
        popular = np.broadcast_to(self.export.facts.recent_positives.astype(np.float64), self.met.shape)
        return {
            POPULAR: popular,
            OWN: self.played + popular / (popular.max() + 1),
            KNN: sparse.csr_array(heard @ cosine_neighbours(heard, self.met.shape[1], NEIGHBOURS)).toarray(),
            "vector": self.vectors @ np.asarray(self.export.vectors).T,
        }


def _between(events: Events, start_us: int, end_us: int) -> Events:
    first, last = np.searchsorted(events.timestamp_us, (start_us, end_us))
    return Events(**{name: getattr(events, name)[first:last] for name in EVENT_COLUMNS})


def _counts(lists: list[np.ndarray], num_contents: int) -> Float[np.ndarray, "listeners contents"]:
    counts = np.zeros((len(lists), num_contents))
    for row, contents in enumerate(lists):
        np.add.at(counts[row], contents, 1)
    return counts


def judged(
    order: np.ndarray, targets: Bool[np.ndarray, "listeners pool"], may_come: Bool[np.ndarray, "listeners pool"]
) -> Float[np.ndarray, " listeners"]:
    """ndcg@30 of each listener's order without what may not come; NaN for a listener without targets."""
    wanted = targets & may_come
    come = np.take_along_axis(may_come, order, axis=1)
    kept = np.take_along_axis(order, np.argsort(~come, axis=1, kind="stable"), axis=1)[:, :K]
    hits, count = np.take_along_axis(wanted, kept, axis=1), wanted.sum(axis=1)
    return np.where(count > 0, ndcg(hits, np.maximum(count, 1), K), np.nan)


def measured(folder: Path, raw: Path | None, day: date, floor: float, users: int, pools: int) -> tuple[dict, dict]:
    """Figures by case and ranker, `[listeners]`; and what was reached under the floor."""
    cut = Cut(folder, day, users)
    scores = cut.scores()
    rules = {"k": K, "floor": floor}
    playlists = None if raw is None else pq.read_table(raw / "playlists").to_pylist()
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    least: dict[str, list[float]] = {"without": [], "with": []}
    for pool in pools_of_editors(cut.export, rules, playlists)[:pools]:
        opened = OpenPool.of(cut.export, pool, day)
        # Rankers are judged as they are; a list leaves out what was disliked, for any ranker.
        utility = np.stack([listener.utility(pool.rows) for listener in cut.listeners])
        values = np.stack([opened.values(listener) for listener in cut.listeners])
        targets, unmet = cut.plays[:, pool.rows], opened.may_come & ~cut.met[:, pool.rows]
        everything = np.broadcast_to(opened.may_come, targets.shape)
        rankers = {OURS: utility, **{name: all_of[:, pool.rows] for name, all_of in scores.items()}}
        rankers["editor's order"] = np.broadcast_to(opened.editors_values, targets.shape)
        for name, each in rankers.items():
            order = np.argsort(-each, axis=1, kind="stable")
            found.setdefault(("all", name), []).append(judged(order, targets, everything))
            found.setdefault(("first", name), []).append(judged(order, targets, unmet))
            found.setdefault(("first of all", name), []).append(judged(order, targets & unmet, everything))
        weights = fitted(opened, values, np.ones(len(values), bool))
        for name, weighed in (("without", values), ("with", values + weights)):
            lists = opened.lists(weighed)
            least[name].append(float(attention(opened, lists)[opened.may_come].min()))
            found.setdefault(("list", f"{name} floor"), []).append(judged(lists, targets, everything))
    return {key: _mean(np.stack(each)) for key, each in found.items()}, least


def _mean(figures: Float[np.ndarray, "some listeners"]) -> Float[np.ndarray, " listeners"]:
    """Returns the mean over pools or seeds; NaN where there is none."""
    count = np.isfinite(figures).sum(axis=0)
    return np.where(count > 0, np.nansum(figures, axis=0) / np.maximum(count, 1), np.nan)


def mean(figures: Float[np.ndarray, " listeners"]) -> float:
    """Returns the mean over listeners who have the figure; NaN where none has."""
    return float(_mean(figures[:, None])[0])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--export", type=Path, nargs="+", required=True, help="one of each seed")
    parser.add_argument("--raw", type=Path, help="a folder of raw tables with playlists/, of an export before format 4")
    parser.add_argument("--as-of", type=date.fromisoformat, required=True)
    parser.add_argument("--floor", type=float, default=0.75)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--pools", type=int, default=1_000_000)
    add_smallest(parser, users=100, pools=2)
    arguments = parser.parse_args()
    seeds = [
        measured(folder, arguments.raw, arguments.as_of, arguments.floor, arguments.users, arguments.pools)
        for folder in arguments.export
    ]
    figures = {key: _mean(np.stack([found[key] for found, _ in seeds])) for key in seeds[0][0]}
    table = Table(f"as of {arguments.as_of}", "ranker", "ndcg@30", "chance of a listen / this")
    rows = []
    for (case, name), each in figures.items():
        against = None if case == "list" else ratio(figures[case, OURS], each)
        rows.append({"case": case, "ranker": name, "ndcg@30": mean(each), "ours_over_this": against})
        table.add_row(case, name, f"{mean(each):.4f}", _shown(against) if against else "")
    Console(width=120).print(table)
    aims = {
        f"{case}, {name}": ratio(figures[case, OURS], figures[case, name]) | {"aim": aim} for case, name, aim in AIMS
    }
    price = ratio(figures["list", "with floor"], figures["list", "without floor"])
    for name, each in aims.items():
        print(f"{name}: {_shown(each)}, aim {each['aim']}")
    reached = {name: [float(np.min(least[name])) for _, least in seeds] for name in ("without", "with")}
    print(
        f"floor {arguments.floor:g}: lists {_shown(price)} of those without, aim {1 - PRICE}; least attention {reached}"
    )
    result = {
        "as_of": arguments.as_of.isoformat(),
        "exports": [Export(folder, check_files=False).version for folder in arguments.export],
        "listeners": int(np.isfinite(figures["all", OURS]).sum()),
        "figures": rows,
        "aims": aims,
        "floor": {"floor": arguments.floor, "price": price, "least_attention": reached},
    }
    write_result(arguments, f"algotorial-{arguments.as_of}", result)


def _shown(found: dict[str, float]) -> str:
    return f"{found['ratio']:.4f} ({found['low']:.4f} to {found['high']:.4f})"


if __name__ == "__main__":
    main()
