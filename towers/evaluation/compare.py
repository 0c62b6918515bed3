"""Two evaluations on the same task side by side: what changed in the figures, for whom, and in what is shown.

Whether they are of two checkpoints, two exports, or a model and a baseline does not matter. Differences are always
`after - before`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int
from rich.console import Console
from rich.table import Table
from rich.text import Text

from towers.evaluation.intervals import Difference, paired_differences
from towers.evaluation.overlap import jaccard, rank_biased_overlap
from towers.evaluation.rankers import Ranking
from towers.evaluation.report.content_cards import ContentCard, ContentCards
from towers.evaluation.report.listener_examples import Recommendation
from towers.evaluation.report.score_calibration import are_targets
from towers.evaluation.result import ALL, Evaluation, split_key
from towers.evaluation.task import EvaluationTask
from towers.manifest import atomic_file, write_json

NUM_RECENT: Final = 8
SHOWN: Final = 10
"""Places of a list, and contents, that are printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """A figure before and after, over the listeners that have it, and the paired difference."""

    before: float
    after: float
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerChange:
    """A listener who gained or lost.

    Args:
        user: raw id.
        before: their main metric.
        after: likewise.
        recent: heard last, newest first, each once.
        list_before: what they were shown, best first.
        list_after: what they are shown.
    """

    user: str
    before: float
    after: float
    recent: tuple[ContentCard, ...]
    list_before: tuple[Recommendation, ...]
    list_after: tuple[Recommendation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureChange:
    """In how many listeners' lists of what they have not heard a content stands."""

    card: ContentCard
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How alike the lists of a listener are, from 0 to 1, in the mean over listeners."""

    jaccard: float
    rank_biased: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed.

    Args:
        before: name of the ranker.
        after: name of the other.
        main_metric: by whose difference listeners gain or lose.
        changes: by key.
        left_out: keys asked for that one of the two has no figures of.
        gained: those who gained most, most first.
        lost: those who lost most, most first.
        exposure: the contents whose exposure changed most, most first.
        overlap: by list.
        listeners: a row a listener: `user_row`, `user_id`, `before` and `after` (main metric, null outside of its
            slice), `jaccard` and `rank_biased_overlap` of the lists of what they have not heard.
        contents: a row a content that anybody is shown: `content_row`, `content_id`, `title`, `kind`, `is_cold`,
            `train_positives`, `before` and `after` (lists it stands in).
    """

    before: str
    after: str
    main_metric: str
    changes: Mapping[str, KeyChange]
    left_out: tuple[str, ...]
    gained: tuple[ListenerChange, ...]
    lost: tuple[ListenerChange, ...]
    exposure: tuple[ExposureChange, ...]
    overlap: Mapping[Ranking, Overlap]
    listeners: pa.Table
    contents: pa.Table


def compare(
    task: EvaluationTask,
    before: Evaluation,
    after: Evaluation,
    cards: ContentCards,
    user_ids: Sequence[str] | np.ndarray,
    keys: Sequence[str],
    main_metric: str = "recall@20/discovery",
    *,
    num_listeners: int = 10,
    num_contents: int = 50,
    seed: int = 0,
) -> Comparison:
    """Compares two evaluations with figures of every listener and kept lists.

    Args:
        task: that both are of.
        before: the one that differences are taken from.
        after: the other.
        cards: of the contents.
        user_ids: by row of the store.
        keys: figures to compare, such as `ndcg@20/cold_content`; their intervals hold together.
        main_metric: a key.
        num_listeners: who gained most, and as many who lost most.
        num_contents: whose exposure changed most.
        seed: of the bootstrap.

    Raises:
        ValueError: one of the two has no figure of the main metric, they are not of the listeners of the task, or the
            lists they kept are not equally long.
    """
    if not all(np.array_equal(one.user_rows, task.user_rows) for one in (before, after)):
        raise ValueError(f"{before.ranker!r} and {after.ranker!r} were not both evaluated on the listeners of the task")
    if any(before.lists[name].rows.shape != after.lists[name].rows.shape for name in before.lists):
        raise ValueError(f"{before.ranker!r} and {after.ranker!r} kept lists of different lengths")
    changes = _changes(before, after, keys, seed)
    ranking = ranking_of(before, main_metric)
    old, new = _column(before, main_metric), _column(after, main_metric)
    teller = _Teller(task, before, after, ranking, cards, user_ids)
    gains = np.nan_to_num(new - old)
    most_gained, most_lost = (np.argsort(values, kind="stable")[:num_listeners].tolist() for values in (-gains, gains))
    exposures = [_exposure(one, task.num_contents) for one in (before, after)]
    shown = np.flatnonzero(exposures[0] + exposures[1])
    most_changed = shown[np.argsort(-np.abs(exposures[1] - exposures[0])[shown], kind="stable")][:num_contents]
    return Comparison(
        before=before.ranker,
        after=after.ranker,
        main_metric=main_metric,
        changes=changes,
        left_out=tuple(key for key in keys if key not in changes),
        gained=tuple(teller.tell(place, old, new) for place in most_gained if gains[place] > 0),
        lost=tuple(teller.tell(place, old, new) for place in most_lost if gains[place] < 0),
        exposure=tuple(
            ExposureChange(card=card, before=int(exposures[0][row]), after=int(exposures[1][row]))
            for row, card in zip(most_changed, cards.at(most_changed), strict=True)
            if exposures[0][row] != exposures[1][row]
        ),
        overlap=_overlaps(before, after),
        listeners=_listener_table(before, after, user_ids, old, new),
        contents=_content_table(cards, shown, *exposures),
    )


def ranking_of(evaluation: Evaluation, key: str) -> Ranking:
    """The list in which the slice of `key` is looked for, as `harness.evaluate` has it."""
    _, slice_name = split_key(key)
    if slice_name == "familiar" or (slice_name == ALL and "familiar" in evaluation.slices):
        return "everything"
    return "unseen_cold" if slice_name == "cold_among_cold" else "unseen"


def show(comparison: Comparison, console: Console, *, num_listeners: int = 3, num_contents: int = SHOWN) -> None:
    """Prints the comparison: figures, overlap, some listeners with both lists (hits marked), contents."""
    console.print(_figure_table(comparison))
    if comparison.left_out:
        console.print(Text(f"without a figure of both: {', '.join(comparison.left_out)}"))
    for name, overlap in comparison.overlap.items():
        console.print(
            Text(f"lists of {name}: Jaccard {overlap.jaccard:.3f}, rank-biased overlap {overlap.rank_biased:.3f}")
        )
    for word, changes in (("gained", comparison.gained), ("lost", comparison.lost)):
        for change in changes[:num_listeners]:
            heard = ", ".join(card.title for card in change.recent) or "nothing"
            figures = f"{comparison.main_metric} {change.before:.3f} to {change.after:.3f}"
            # Above the table and not its title, which would be as narrow.
            console.print(Text(f"{change.user} {word}: {figures}; heard {heard}"))
            console.print(_both_lists(comparison, change))
    exposure = Table(title="In how many lists of what is new to the listener", title_justify="left")
    for name in ("content", "training plays", "before", "after"):
        exposure.add_column(name, justify="left" if name == "content" else "right")
    for change in comparison.exposure[:num_contents]:
        plays = f"{change.card.train_positives:,}"
        exposure.add_row(Text(change.card.line), plays, f"{change.before:,}", f"{change.after:,}")
    console.print(exposure)


def write(comparison: Comparison, folder: Path, metadata: Mapping[str, Any]) -> None:
    """Writes `listeners.parquet`, `contents.parquet`, and last `comparison.json`, each whole or not at all.

    Args:
        comparison: all of it is written.
        folder: made if it does not exist; files of an earlier comparison are replaced.
        metadata: JSON-like; what is compared.
    """
    for name, rows in (("listeners", comparison.listeners), ("contents", comparison.contents)):
        with atomic_file(folder / f"{name}.parquet") as temporary:
            pq.write_table(rows, temporary, compression="zstd")
    parts = {name: getattr(comparison, name) for name in ("before", "after", "main_metric", "left_out")}
    parts["changes"] = {key: asdict(change) for key, change in comparison.changes.items()}
    parts["overlap"] = {name: asdict(overlap) for name, overlap in comparison.overlap.items()}
    for name in ("gained", "lost", "exposure"):
        parts[name] = [asdict(change) for change in getattr(comparison, name)]
    write_json(folder / "comparison.json", {"metadata": dict(metadata), **parts})


class _Teller:
    """What there is to tell of one listener."""

    def __init__(
        self,
        task: EvaluationTask,
        before: Evaluation,
        after: Evaluation,
        ranking: Ranking,
        cards: ContentCards,
        user_ids: Sequence[str] | np.ndarray,
    ):
        self._task, self._cards, self._user_ids = task, cards, user_ids
        self._lists = [one.lists[ranking] for one in (before, after)]
        self._hits = [are_targets(task, ranked.rows) for ranked in self._lists]

    def tell(
        self, position: int, before: Float[np.ndarray, " users"], after: Float[np.ndarray, " users"]
    ) -> ListenerChange:
        newest_first = self._task.histories[position][::-1].tolist()
        lists = [self._list(number, position) for number in range(2)]
        return ListenerChange(
            user=str(self._user_ids[int(self._task.user_rows[position])]),
            before=float(before[position]),
            after=float(after[position]),
            recent=self._cards.at(list(dict.fromkeys(newest_first))[:NUM_RECENT]),
            list_before=lists[0],
            list_after=lists[1],
        )

    def _list(self, number: int, position: int) -> tuple[Recommendation, ...]:
        rows = self._lists[number].rows[position]
        filled = np.flatnonzero(rows >= 0)
        scores, hits = self._lists[number].scores[position], self._hits[number][position]
        return tuple(
            Recommendation(card=card, score=float(scores[rank]), is_hit=bool(hits[rank]))
            for rank, card in zip(filled, self._cards.at(rows[filled]), strict=True)
        )


def _column(evaluation: Evaluation, key: str) -> Float[np.ndarray, " users"]:
    """The figure of every listener of the task, NaN outside of the slice."""
    column = np.full(len(evaluation.user_rows), np.nan)
    figures = evaluation.figures(key)
    column[evaluation.slices[split_key(key)[1]].positions] = figures
    return column


def _changes(before: Evaluation, after: Evaluation, keys: Sequence[str], seed: int) -> dict[str, KeyChange]:
    """Of the keys under which both have figures of every listener; coverage and its like are of all lists together."""
    old, new = before.means(), after.means()
    together = before.catalogue.keys() | after.catalogue.keys()
    usable = [key for key in keys if key in old and key in new and key not in together]
    return {
        key: KeyChange(before=old[key], after=new[key], difference=difference)
        for key, difference in paired_differences(after, before, usable, seed=seed).items()
    }


def _exposure(evaluation: Evaluation, num_contents: int) -> Int[np.ndarray, " contents"]:
    rows = evaluation.lists["unseen"].rows
    return np.bincount(rows[rows >= 0], minlength=num_contents)


def _overlaps(before: Evaluation, after: Evaluation) -> dict[Ranking, Overlap]:
    """By list; absent where nobody has one, as of cold contents where there are none."""
    found = {}
    for ranking in before.lists:
        pair = before.lists[ranking].rows, after.lists[ranking].rows
        if any((rows >= 0).any() for rows in pair):
            jaccards, rank_biased = jaccard(*pair), rank_biased_overlap(*pair)
            found[ranking] = Overlap(jaccard=float(np.nanmean(jaccards)), rank_biased=float(np.nanmean(rank_biased)))
    return found


def _listener_table(
    before: Evaluation,
    after: Evaluation,
    user_ids: Sequence[str] | np.ndarray,
    old: Float[np.ndarray, " users"],
    new: Float[np.ndarray, " users"],
) -> pa.Table:
    first, second = before.lists["unseen"].rows, after.lists["unseen"].rows
    figures = {
        "before": old,
        "after": new,
        "jaccard": jaccard(first, second),
        "rank_biased_overlap": rank_biased_overlap(first, second),
    }
    ids = [str(user_ids[row]) for row in before.user_rows.tolist()]
    columns = {name: pa.array(values, from_pandas=True) for name, values in figures.items()}
    return pa.table({"user_row": pa.array(before.user_rows, pa.int64()), "user_id": pa.array(ids), **columns})


def _content_table(
    cards: ContentCards,
    shown: Int[np.ndarray, " shown"],
    before: Int[np.ndarray, " contents"],
    after: Int[np.ndarray, " contents"],
) -> pa.Table:
    found = cards.at(shown)
    columns: dict[str, Any] = {"content_row": pa.array(shown, pa.int64())}
    for name, kind in (
        ("content_id", pa.string()),
        ("title", pa.string()),
        ("kind", pa.string()),
        ("is_cold", pa.bool_()),
        ("train_positives", pa.int64()),
    ):
        columns[name] = pa.array([getattr(card, name) for card in found], kind)
    return pa.table({**columns, "before": pa.array(before[shown]), "after": pa.array(after[shown])})


def _figure_table(comparison: Comparison) -> Table:
    """Differences that are clear among all of them in bold."""
    result = Table(title=Text(f"{comparison.after} against {comparison.before}"), title_justify="left")
    result.add_column("figure")
    for name in ("before", "after", "difference", "alone", "among all", "p", "listeners"):
        result.add_column(name, justify="right")
    for key, change in comparison.changes.items():
        found = change.difference
        result.add_row(
            Text(key),
            f"{change.before:.4f}",
            f"{change.after:.4f}",
            Text(f"{found.mean:+.4f}", "bold" if found.is_clear else ""),
            f"{found.low:+.4f} to {found.high:+.4f}",
            f"{found.low_of_all:+.4f} to {found.high_of_all:+.4f}",
            f"{found.p_value:.3f}",
            f"{found.users:,}",
        )
    return result


def _both_lists(comparison: Comparison, change: ListenerChange) -> Table:
    """Side by side, hits marked."""
    result = Table()
    for name in ("#", comparison.before, comparison.after):
        result.add_column(Text(name))
    for rank in range(min(SHOWN, max(len(change.list_before), len(change.list_after)))):
        cells = [_place(places, rank) for places in (change.list_before, change.list_after)]
        result.add_row(str(rank + 1), *cells)
    return result


def _place(places: Sequence[Recommendation], rank: int) -> Text:
    if rank >= len(places):
        return Text("–")
    place = places[rank]
    return Text(f"{'✓' if place.is_hit else ' '} {place.card.title}", "bold" if place.is_hit else "")
