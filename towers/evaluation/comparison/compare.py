"""Comparison of two evaluations on the same task: changes in metrics, by listener, and in the contents shown.

The evaluations may be of two checkpoints, two exports, or a model and a baseline. Differences are always `after -
before`.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from towers.evaluation.comparison.overlap import jaccard, rank_biased_overlap
from towers.evaluation.comparison.values import Comparison, ExposureChange, KeyChange, ListenerChange, Overlap
from towers.evaluation.intervals import figure_column, paired_differences
from towers.evaluation.ranking.rankers import Ranking
from towers.evaluation.report.content_cards import ContentCards
from towers.evaluation.report.listener_examples import Recommendation
from towers.evaluation.report.score_calibration import are_targets
from towers.evaluation.result import ALL, Evaluation, split_key
from towers.evaluation.task import EvaluationTask

NUM_RECENT: Final = 8


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
    """Compares two evaluations that have metrics of every listener and kept lists.

    Args:
        task: task of both evaluations.
        before: evaluation to compare with.
        after: evaluation to compare.
        cards: cards of the contents.
        user_ids: listeners' ids by row of the store.
        keys: metrics to compare, such as `ndcg@20/cold_content`, as one family with simultaneous intervals.
        main_metric: key by which listeners gain or lose.
        num_listeners: number of listeners with the largest gains, and with the largest losses.
        num_contents: number of contents with the largest change of exposure.
        seed: seed of the bootstrap.

    Raises:
        ValueError: the task has no listeners, an evaluation lacks the main metric or has other listeners than the
            task, or the kept lists differ in length.
    """
    _check_comparable(task, before, after, main_metric)
    changes = _changes(before, after, keys, seed)
    ranking = ranking_of(before, main_metric)
    old, new = figure_column(before, main_metric), figure_column(after, main_metric)
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


def _check_comparable(task: EvaluationTask, before: Evaluation, after: Evaluation, main_metric: str) -> None:
    if not len(task.user_rows):
        raise ValueError("no listener has a target in the evaluated period, so there is nothing to compare")
    if not all(np.array_equal(one.user_rows, task.user_rows) for one in (before, after)):
        raise ValueError(f"{before.ranker!r} and {after.ranker!r} were not both evaluated on the listeners of the task")
    lengths = [{name: ranked.rows.shape for name, ranked in one.lists.items()} for one in (before, after)]
    if not lengths[0] or lengths[0] != lengths[1]:
        raise ValueError(f"{before.ranker!r} and {after.ranker!r} kept no lists, or lists of different lengths")
    _, slice_name = split_key(main_metric)
    for one in (before, after):
        try:
            one.figures(main_metric)
        except ValueError as error:
            count = one.counts.get(slice_name, 0)
            raise ValueError(
                f"gains and losses are undefined: {error} ({count} listeners are in its slice, {one.min_users} needed)"
            ) from error


def ranking_of(evaluation: Evaluation, key: str) -> Ranking:
    """Returns the name of the list in which the slice of `key` counts hits; see `harness.evaluate`."""
    _, slice_name = split_key(key)
    if slice_name == "familiar" or (slice_name == ALL and "familiar" in evaluation.slices):
        return "everything"
    return "unseen_cold" if slice_name == "cold_among_cold" else "unseen"


class _Teller:
    """Describes the change of one listener."""

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


def _changes(before: Evaluation, after: Evaluation, keys: Sequence[str], seed: int) -> dict[str, KeyChange]:
    """Compares the keys with values per listener in both; catalogue metrics such as coverage have none."""
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
    """Returns the overlap by list; a list that is empty for all listeners is absent."""
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
