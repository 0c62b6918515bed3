"""Discover Weekly against baselines that keep the same rules: who finds what listeners choose first in the week after.

    towers export as_of=2026-07-14
    python benchmarks/playlists/discover_weekly.py --export exports/<version> --data data/catalogue

Each export is as of the first day of its week, and so is everything that ranks: the baselines are fitted to what it
holds. Targets are the contents that a listener chooses (positive events) within seven days, that no event of theirs
named before, and that were out. Rules, for every ranker: 30 places, nothing met, at most two contents of an artist,
at least 60 % by artists never met. recall@30 is hits / min(30, targets), a mean over listeners with a target; ratios
are of means with 95 % intervals by bootstrap over listeners, paired. `styles met` is the share of the styles among a
listener's targets of which the list has one; styles come from labels.parquet, which nothing else reads. Several
exports are put together: each listener of each counts once.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import add_smallest, command_line, ratio, write_result
from benchmarks.playlists.blend_world import chosen_between
from benchmarks.playlists.past_export import opened
from towers.evaluation.baselines.factors import IALS
from towers.evaluation.baselines.linear import EASE, ItemKNN
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged
from towers.policies.listener import Listener
from towers.policies.playlists.discover_weekly import DiscoverWeekly, new_to
from towers.policies.request import Request, Shared
from towers.policies.rules import Candidates, Quota, Rules
from towers.policies.slate import pick
from towers.retrieval.export import Export
from towers.retrieval.query import Query, allowed

DATA = Path(os.environ.get("TOWERS_SHARED_DATA", "../shared/data"))
DAYS = 7
PEERS = ("item-kNN", "EASE", "iALS", "popularity")
Make = Callable[[int], Int[np.ndarray, " picks"]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Week:
    """An export as of the first day of a week, and what came in it.

    Args:
        export: as of that day.
        data: folder of the raw tables.
        kind: how Discover Weekly is made.
    """

    export: Export
    data: Path
    kind: DiscoverWeekly

    @cached_property
    def shared(self) -> Shared:
        """Returns figures of its lists."""
        return Shared(self.export)

    @cached_property
    def targets(self) -> Bool[np.ndarray, "users contents"]:
        """Returns what each listener chose in the week and had never met, among released contents."""
        first = self.export.last_day
        assert first is not None
        chosen = chosen_between(self.export, self.data, first, first + timedelta(days=DAYS)) > 0
        chosen &= allowed(self.export, Query(), None)
        for row in range(len(chosen)):
            chosen[row, self.listener(row).met] = False
        return chosen

    @cached_property
    def users(self) -> Int[np.ndarray, " users"]:
        """Listeners with a target and a history."""
        has_past = np.array([len(self.listener(row).chosen) > 0 for row in range(len(self.targets))])
        return np.flatnonzero(self.targets.any(axis=1) & has_past)

    def listener(self, row: int) -> Listener:
        """Returns them as of the first day."""
        if row not in self._listeners:
            self._listeners[row] = Listener.of_row(self.export, row)
        return self._listeners[row]

    @cached_property
    def _listeners(self) -> dict[int, Listener]:
        return {}

    def weekly(self, row: int) -> Int[np.ndarray, " picks"]:
        """The list of one listener."""
        return self.kind.make(Request(shared=self.shared, listeners=(self.listener(row),))).rows

    def ruled(self, row: int, scores: Float[np.ndarray, " contents"], plain: bool = False) -> np.ndarray:
        """The list by other scores: under the rules of Discover Weekly, or plain, without rules on artists."""
        listener = self.listener(row)
        may_come = allowed(self.export, Query(), None)
        may_come[listener.met] = False
        rows = np.flatnonzero(may_come)
        found = Candidates.of(rows, scores[rows].astype(np.float64), self.export.facts.artists, self.export.recordings)
        if plain:
            return found.rows[: self.kind.k]
        new = Quota(name="of artists never met", mask=new_to(listener, found.rows), share=self.kind.new_artists)
        rules = Rules(k=self.kind.k, max_per_artist=self.kind.max_per_artist)
        return found.rows[pick(found, rules, [new]).places]

    def utilities(self, row: int) -> Float[np.ndarray, " contents"]:
        """Returns scores of the learnt mixture."""
        return self.listener(row).utility(np.arange(len(self.export.contents)))

    def affinities(self, row: int) -> Float[np.ndarray, " contents"]:
        """Inner products with the listener's vector."""
        return self.export.vectors @ self.listener(row).vector

    def tasted(self, row: int) -> Int[np.ndarray, " picks"]:
        """A plain list by several tastes, by inner products alone: places in proportion to their shares."""
        listener, (vectors, shares) = self.listener(row), (self.export.vectors, self.listener(row).tastes.shares)
        may_come = allowed(self.export, Query(), None)
        may_come[listener.met] = False
        products = np.where(may_come[:, None], listener.tastes.affinity(vectors), -np.inf)
        ranks = np.argsort(np.argsort(-products, axis=0, kind="stable"), axis=0)
        # The content at a rank of a taste comes at about that place of the list.
        return np.argsort(((ranks + 1) / shares).min(axis=1), kind="stable")[: self.kind.k]

    def peers(self) -> dict[str, Float[np.ndarray, "users contents"]]:
        """Scores of the baselines, fitted to what the export holds."""
        chosen, contents = self.export.all_chosen, len(self.export.contents)
        counts = np.bincount(chosen.values, minlength=contents)
        task = EvaluationTask(
            user_rows=self.users,
            histories=chosen.take(self.users),
            targets=Ragged.from_lists([np.flatnonzero(self.targets[row]) for row in self.users]),
            is_candidate=allowed(self.export, Query(), None),
            is_cold=counts == 0,
            train_counts=counts,
            kind_codes=self.export.kinds,
            is_cold_user=np.zeros(len(self.users), bool),
        )
        places = np.arange(len(self.users))
        popular = np.tile(self.export.facts.recent_positives.astype(np.float32), (len(places), 1))
        fitted = [ItemKNN(task, chosen), EASE(task, chosen), IALS(task, chosen)]
        return {peer.name: peer.scores(places) for peer in fitted} | {"popularity": popular}


def styles_of(export: Export, labels: Path) -> Int[np.ndarray, " contents"]:
    """The style of each content as a number; -1 where it is not known."""
    table = pq.read_table(labels, columns=["content_id", "style"])
    names = {name: place for place, name in enumerate(sorted(set(table["style"].to_pylist()) - {None}))}
    found = np.full(len(export.contents), -1)
    for content_id, style in zip(table["content_id"].to_pylist(), table["style"].to_pylist(), strict=True):
        row = export.content_ids.get(content_id, -1)
        if row >= 0 and style is not None:
            found[row] = names[style]
    return found


def measured(week: Week) -> tuple[dict[str, Float[np.ndarray, " users"]], dict[str, Any]]:
    """recall@30 by ranker and listener (`styles met` of those without rules too), and facts of the week."""
    peers = week.peers()
    place_of = {row: place for place, row in enumerate(week.users.tolist())}
    ruled: dict[str, Make] = {
        "Discover Weekly": week.weekly,
        "learnt mixture": lambda row: week.ruled(row, week.utilities(row)),
        "vector": lambda row: week.ruled(row, week.affinities(row)),
    }
    for name, scores in peers.items():
        ruled[name] = lambda row, scores=scores: week.ruled(row, scores[place_of[row]])
    ruled["plain: learnt mixture"] = lambda row: week.ruled(row, week.utilities(row), plain=True)
    ruled["plain: vector"] = lambda row: week.ruled(row, week.affinities(row), plain=True)
    ruled["plain: several tastes"] = week.tasted
    for name in ("item-kNN", "EASE"):
        scores = peers[name]
        ruled[f"plain: {name}"] = lambda row, scores=scores: week.ruled(row, scores[place_of[row]], plain=True)
    labels = week.data / "labels.parquet"
    styles = styles_of(week.export, labels) if labels.exists() else np.full(len(week.export.contents), -1)
    is_cold = np.bincount(week.export.all_chosen.values, minlength=len(styles)) == 0
    figures: dict[str, list[float]] = {}
    cold = np.zeros(3)
    for row in week.users.tolist():
        targets = week.targets[row]
        cold[2] += is_cold[targets].sum()
        for name, make in ruled.items():
            rows = make(row)
            figures.setdefault(name, []).append(targets[rows].sum() / min(week.kind.k, targets.sum()))
            wanted = set(styles[targets].tolist()) - {-1}
            met = set(styles[rows[targets[rows]]].tolist()) - {-1}
            figures.setdefault(f"styles met, {name}", []).append(len(met) / len(wanted) if wanted else np.nan)
            if name == "Discover Weekly":
                cold[:2] += is_cold[rows].sum(), len(rows)
    facts = {
        "as_of": str(week.export.last_day),
        "listeners": len(week.users),
        "targets": int(week.targets[week.users].sum()),
        "cold_share_of_targets": float(cold[2] / week.targets[week.users].sum()),
        "cold_share_of_lists": float(cold[0] / cold[1]),
        "mixture": None if week.export.mixture is None else week.export.mixture.fitted,
    }
    return {name: np.array(values) for name, values in figures.items()}, facts


def by_listener(
    found: list[tuple[dict[str, Float[np.ndarray, " users"]], dict[str, Any]]],
) -> dict[str, Float[np.ndarray, " users"]]:
    """Figures of all weeks, one after the other; those of several exports of a week are means by listener."""
    weeks: dict[str, list[dict[str, np.ndarray]]] = {}
    for figures, facts in found:
        weeks.setdefault(facts["as_of"], []).append(figures)
    return {
        name: np.concatenate([np.mean([one[name] for one in exports], axis=0) for exports in weeks.values()])
        for name in found[0][0]
    }


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--export", type=Path, nargs="+", required=True, help="versions, each as of its week")
    parser.add_argument("--data", type=Path, default=DATA / "catalogue", help="raw tables with what came afterwards")
    parser.add_argument("--as-of", type=date.fromisoformat, help="cuts the exports there, but for vectors and models")
    parser.add_argument("--taste-share", type=float, default=DiscoverWeekly().taste_share)
    add_smallest(parser, taste_share=0.5)
    arguments = parser.parse_args()
    kind = DiscoverWeekly(taste_share=arguments.taste_share)
    found = [
        measured(Week(export=opened(each, arguments.as_of), data=arguments.data, kind=kind))
        for each in arguments.export
    ]
    figures = by_listener(found)
    ratios = {}
    for name, against in (("Discover Weekly", PEERS), ("learnt mixture", PEERS)):
        ratios[name] = {peer: ratio(figures[name], figures[peer]) for peer in against}
    tastes, vector = (f"plain: {name}" for name in ("several tastes", "vector"))
    ratios["several tastes"] = {"vector": ratio(figures[tastes], figures[vector])}
    styles = [figures[f"styles met, {name}"] for name in (tastes, vector)]
    known = np.isfinite(styles[0])
    if known.any():
        ratios["several tastes"]["vector, styles met"] = ratio(styles[0][known], styles[1][known])
    means = {name: float(np.nanmean(values)) for name, values in figures.items() if np.isfinite(values).any()}
    table = Table("ranker", "recall@30", "styles met", "Discover Weekly is")
    for name in (name for name in means if not name.startswith("styles")):
        beside = ratios["Discover Weekly"].get(name)
        shown = "" if beside is None else "{ratio:.3f} ({low:.3f} to {high:.3f})".format(**beside)
        table.add_row(name, f"{means[name]:.4f}", f"{means.get(f'styles met, {name}', np.nan):.4f}", shown)
    console = Console()
    console.print(table)
    console.print(ratios["several tastes"], [one[1] | {"mixture": None} for one in found])
    write_result(arguments, "discover_weekly", {"weeks": [one[1] for one in found], "means": means, "ratios": ratios})


if __name__ == "__main__":
    main()
