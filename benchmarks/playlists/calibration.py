"""Measures what lists in the styles of their listener cost and gain: the best contents alone, the flow, and Steck's
greedy way.

    python benchmarks/playlists/calibration.py --export exports/current --as-of 2026-07-06

Listeners are as of a date: of the export's histories only events before it are read, their vectors are encoded anew
from these, contents released later do not come, and how much contents were played lately is counted up to then. The
network and the model of the chance of a listen are the export's own: where it has seen the days after the date,
figures flatter all rows alike. Two kinds of lists: 30 contents that the listener never met, and 50 of all, both by the
chance of a listen (`--by affinity`: by the inner product). Judged are ndcg of what they chose within 7 days (in the
first kind what was new to them) and the divergence from the genres of their history (`features.calibration`): of given
and imputed ones, a content without a genre having those of its 20 nearest contents, and of given ones alone.
Differences to the first row are paired over listeners, with 95 % intervals; `KL x` is the mean divergence over that of
the first row, `given x` likewise. Settings are chosen as of 2026-07-06, the week before the test.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from benchmarks import one_thread  # noqa: F401  # importing it sets the threads that numpy reads when it starts

# isort: split
import numpy as np
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, write_result
from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.contract.events import microseconds_of
from towers.evaluation.metrics import ndcg
from towers.features.calibration import calibration_kl
from towers.policies.calibration import by_flow, by_greedy, listener_mix
from towers.policies.listener import Listener
from towers.policies.rules import Candidates, Quota, Rules
from towers.policies.slate import Choose, in_styles, pick, pick_near
from towers.retrieval.encoders import EVENT_COLUMNS, Events
from towers.retrieval.export import Export
from towers.retrieval.query import Standing

DAYS = 7
RECENT_DAYS = 14
NEIGHBOURS = 20
CHUNK = 1_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A listener of one kind of lists.

    Args:
        candidates: the best so many, as of the date.
        is_new: of the candidates, whether the listener never chose anything by their artists.
        chosen: rows of what the listener chose before the date, in time order.
        targets: rows of what they chose within `DAYS` of it, among all that might have come.
    """

    candidates: Candidates
    is_new: np.ndarray
    chosen: np.ndarray
    targets: np.ndarray


Maker = Callable[[Case, np.ndarray, int], np.ndarray]
"""Places of a case's candidates in the order of the list, from the styles of all contents and the list's length."""


def given_shares(export: Export) -> tuple[np.ndarray, list[str]]:
    """`[contents, genres]`: equal shares of each content's genres, and their names."""
    lists = export.contents["genres"].combine_chunks()
    coded = pc.call_function("list_flatten", [lists]).dictionary_encode()
    parents = pc.call_function("list_parent_indices", [lists]).to_numpy()
    shares = np.zeros((len(lists), len(coded.dictionary)))
    np.add.at(shares, (parents, coded.indices.to_numpy()), 1.0)
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), 1), coded.dictionary.to_pylist()


def imputed_shares(export: Export, given: np.ndarray) -> np.ndarray:
    """The shares, and where there are none the mean of the `NEIGHBOURS` nearest contents that have some."""
    known = np.flatnonzero(given.sum(axis=1) > 0)
    shares = given.copy()
    lacking = np.flatnonzero(given.sum(axis=1) == 0)
    for part in np.array_split(lacking, max(len(lacking) // CHUNK, 1)):
        near = np.argsort(-(export.vectors[part] @ export.vectors[known].T), axis=1, kind="stable")[:, :NEIGHBOURS]
        shares[part] = given[known[near]].mean(axis=1)
    return shares


def cut(events: Events, is_in: np.ndarray) -> Events:
    return Events(**{name: getattr(events, name)[is_in] for name in EVENT_COLUMNS})


def count_plays_up_to(export: Export, as_of_us: int) -> None:
    """What was played lately is as of the date from now on, not of the export's last day."""
    counts = np.zeros(len(export.contents), np.int64)
    for row in range(len(export.user_ids)):
        events = export.events(row)
        age = as_of_us - events.timestamp_us
        is_recent = (age > 0) & (age <= RECENT_DAYS * DAY_US) & events.is_positive
        np.add.at(counts, events.content_row[is_recent], 1)
    export.facts = replace(export.facts, recent_positives=counts)


def cases(export: Export, as_of: date, sample: int, num_candidates: int, by: str) -> tuple[list[Case], list[Case]]:
    """Returns figures of listeners with a history and a target: contents they never met, and all."""
    as_of_us = microseconds_of(datetime(as_of.year, as_of.month, as_of.day))
    count_plays_up_to(export, as_of_us)
    released = export.catalogue.passing(schema.PLAYABLE_KINDS, True, as_of - timedelta(days=1))
    found: tuple[list[Case], list[Case]] = ([], [])
    rows = np.random.default_rng(0).permutation(len(export.user_ids))[:sample]
    for row in np.sort(rows).tolist():
        events = export.events(row)
        before = cut(events, events.timestamp_us < as_of_us)
        after = cut(events, (events.timestamp_us >= as_of_us) & (events.timestamp_us < as_of_us + DAYS * DAY_US))
        if not len(before.chosen_rows):
            continue
        listener = Listener(
            export=export,
            vector=export.encode_events(before, export.user_codes[row]),
            standing=Standing.of(before, as_of_us),
            user_row=row,
        )
        may_come = released.copy()
        may_come[listener.standing.disliked] = False
        unmet = may_come.copy()
        unmet[listener.met] = False
        for kind, among in zip(found, (unmet, may_come), strict=True):
            targets = np.unique(after.chosen_rows)
            targets = targets[among[targets]]
            if len(targets):
                kind.append(case_of(listener, np.flatnonzero(among), targets, num_candidates, by))
    return found


def case_of(listener: Listener, rows: np.ndarray, targets: np.ndarray, num_candidates: int, by: str) -> Case:
    facts = listener.export.facts
    all_of_them = Candidates.of(rows, getattr(listener, by)(rows).astype(np.float64), facts.artists)
    best = all_of_them.at(np.arange(min(num_candidates, len(rows))))
    is_new = facts.artist_plays(listener.chosen, best.rows) == 0
    return Case(candidates=best, is_new=is_new, chosen=listener.chosen, targets=targets)


def plain(case: Case, shares: np.ndarray, k: int) -> np.ndarray:
    return np.arange(min(k, len(case.candidates)))


def calibrated(way: Callable[..., np.ndarray], half_life: float | None = None, **settings: float) -> Maker:
    def make(case: Case, shares: np.ndarray, k: int) -> np.ndarray:
        p = listener_mix(shares[case.chosen], half_life=half_life)
        return np.sort(way(case.candidates.utility, shares[case.candidates.rows], p, k, **settings))

    return make


def in_places(candidates: Candidates, rules: Rules, styles: np.ndarray, p: np.ndarray) -> Choose:
    """The flow, as `in_styles` is the greedy way."""
    return lambda left, length: by_flow(candidates.utility[left], styles[left], p, length)


def under_rules(way: Callable[..., Choose] | None, share_of_new: float) -> Maker:
    """Checks the rules: at most two of an artist, and at least such a share of artists that the listener never
    chose."""

    def make(case: Case, shares: np.ndarray, k: int) -> np.ndarray:
        candidates, rules = case.candidates, Rules(k=k)
        quotas = [Quota(name="of new artists", mask=case.is_new, share=share_of_new)] if share_of_new else []
        if way is None:
            return pick(candidates, rules, quotas).places
        p, styles = listener_mix(shares[case.chosen]), shares[candidates.rows]
        return pick_near(candidates, rules, quotas, way(candidates, rules, styles, p)).places

    return make


def makers() -> dict[str, Maker]:
    found: dict[str, Maker] = {"plain": plain}
    found |= {f"greedy {weight}": calibrated(by_greedy, weight=weight) for weight in (0.9, 0.93, 0.97)}
    for weight in (0.9, 0.93, 0.95, 0.97, 0.99):
        found[f"greedy of the whole {weight}"] = calibrated(by_greedy, weight=weight, of_whole=True)
    found |= {f"flow, miss {miss}": calibrated(by_flow, miss=miss) for miss in (1.0, 2.0)}
    found["flow"] = calibrated(by_flow)
    found["flow, half-life 50"] = calibrated(by_flow, half_life=50.0)
    for name, share in {"caps": 0.0, "caps, 60 % new": 0.6}.items():
        found[name] = under_rules(None, share)
        found[f"{name}, flow"] = under_rules(in_places, share)
        found[f"{name}, in styles"] = under_rules(in_styles, share)
    return found


def figures(make: Maker, kind: list[Case], k: int, shares: np.ndarray, given: np.ndarray) -> dict[str, np.ndarray]:
    """Returns figures by name, `[listeners]`."""
    lists, times = [], []
    for case in kind:
        start = time.perf_counter()
        places = make(case, shares, k)
        times.append(1_000 * (time.perf_counter() - start))
        lists.append(case.candidates.rows[places])
    hits = np.zeros((len(kind), k), bool)
    for at, (rows, case) in enumerate(zip(lists, kind, strict=True)):
        hits[at, : len(rows)] = np.isin(rows, case.targets)
    return {
        "ndcg": ndcg(hits, np.array([len(case.targets) for case in kind]), k),
        "KL": divergences(kind, lists, shares),
        "KL of given genres": divergences(kind, lists, given),
        "ms": np.array(times),
    }


def divergences(kind: list[Case], lists: list[np.ndarray], shares: np.ndarray) -> np.ndarray:
    """Contents without a style count for neither side; NaN where one side has none with a style."""
    found = []
    for case, rows in zip(kind, lists, strict=True):
        p, q = shares[case.chosen].sum(axis=0), shares[rows].sum(axis=0)
        is_defined = p.sum() > 0 and q.sum() > 0
        found.append(float(calibration_kl(p / p.sum(), q / q.sum())) if is_defined else np.nan)
    return np.array(found)


def difference(values: np.ndarray, first: np.ndarray) -> list[float]:
    """Mean and 95 % bounds over listeners, paired."""
    gap = values - first
    half = 1.96 * float(gap.std()) / np.sqrt(len(gap))
    return [float(gap.mean()), float(gap.mean()) - half, float(gap.mean()) + half]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--export", type=Path, default=Path("exports/current"))
    parser.add_argument("--as-of", type=date.fromisoformat, help="midnight, UTC; default: 7 days before the last event")
    parser.add_argument("--sample", type=int, default=1_500, help="listeners")
    parser.add_argument("--candidates", type=int, default=1_000)
    parser.add_argument("--by", default="utility", choices=("utility", "affinity"), help="what candidates are worth")
    parser.add_argument("--only", nargs="*", default=[], help="rows beside plain; default: all")
    add_smallest(parser, sample=20, candidates=100)
    arguments = parser.parse_args()
    export = Export(arguments.export)
    assert export.last_day is not None, "the export has no clock"
    as_of = arguments.as_of or export.last_day - timedelta(days=DAYS)
    given, _ = given_shares(export)
    shares = imputed_shares(export, given)
    result: dict[str, dict] = {}
    kinds = dict(
        zip(
            ("30 never met", "50 of all"),
            cases(export, as_of, arguments.sample, arguments.candidates, arguments.by),
            strict=True,
        )
    )
    for (name, kind), k in zip(kinds.items(), (30, 50), strict=True):
        if not kind:
            continue  # too few listeners to have one with a target
        title = f"{name}, as of {as_of}, {len(kind)} listeners"
        columns = ("", "ndcg", "difference", "KL", "KL x", "given x", "ms")
        table = Table(*columns, title=title)
        first: dict[str, np.ndarray] = {}
        for row, make in makers().items():
            if arguments.only and row not in ("plain", *arguments.only):
                continue
            found = figures(make, kind, k, shares, given)
            first = first or found
            means = {key: float(np.nanmean(values)) for key, values in found.items()}
            gap = difference(found["ndcg"], first["ndcg"])
            ratios = {key: means[key] / float(np.nanmean(first[key])) for key in ("KL", "KL of given genres")}
            shown = [f"{gap[0]:+.4f} ({gap[1]:+.4f} to {gap[2]:+.4f})", f"{means['KL']:.3f}"]
            ratio = [f"{value:.2f}" for value in ratios.values()]
            table.add_row(row, f"{means['ndcg']:.4f}", *shown, *ratio, f"{np.median(found['ms']):.2f}")
            result.setdefault(name, {})[row] = means | {"difference": gap, "ratios": ratios}
        Console(width=140).print(table)
    content = {"export": export.version, "as_of": str(as_of), "sample": arguments.sample, "lists": result}
    write_result(arguments, f"calibration-{arguments.by}-{as_of}", content)


if __name__ == "__main__":
    main()
