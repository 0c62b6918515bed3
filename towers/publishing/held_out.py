"""Recall on listening that no training has seen, for some listeners; it decides on a space, and on dimensions."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.data.store import Store
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import Ranker
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.result import Evaluation
from towers.evaluation.task import EvaluationTask
from towers.publishing.leading import K, dimensions_up_to, leading

RECALL = f"recall@{K}"
AT_MOST = 2_000


class HeldOutListening:
    """Choices of listeners in a store's test period, to be found in the whole catalogue.

    Args:
        store: the prepared store.
        filter_seen: whether lists leave out what the listener has heard, as in the evaluation.
        min_users: least number of listeners for a figure.
        at_most: largest number of listeners; if there are more, so many are drawn.
        seed: seed of the draw.
        ranker: function that builds a ranker from a task, a name, listeners' vectors and contents'.
    """

    def __init__(
        self,
        store: Store,
        *,
        filter_seen: bool = False,
        min_users: int = 100,
        at_most: int = AT_MOST,
        seed: int = 0,
        ranker: Callable[..., Ranker] = VectorRanker,
    ):
        self.store = store
        self.min_users = min_users
        self._filter_seen, self._ranker = filter_seen, ranker
        task = task_from_store(store, "test")
        has_some = np.flatnonzero(task.ranked_targets.lengths > 0)
        drawn = np.random.default_rng(seed).permutation(has_some)[:at_most]
        self._task = _of_listeners(task, np.sort(drawn))

    @property
    def user_rows(self) -> Int[np.ndarray, " listeners"]:
        """Rows of the listeners in the store, ascending; evaluation needs their vectors as of the start of the test
        period."""
        return self._task.user_rows

    @property
    def is_candidate(self) -> Bool[np.ndarray, " contents"]:
        """Which contents may be in a list, by row of the store."""
        return self._task.is_candidate

    def evaluate(
        self,
        name: str,
        users: Float[np.ndarray, "listeners dim"],
        contents: Float[np.ndarray, "contents dim"],
        positions: Int[np.ndarray, " some"] | None = None,
    ) -> Evaluation:
        """Ranks all candidates by inner products and evaluates the result.

        Args:
            name: name of the ranker.
            users: vectors of `user_rows`, or of `positions` of them.
            contents: vectors by row of the store; zeros for contents that may not be in a list.
            positions: positions in `user_rows`; null: all.
        """
        task = self._task if positions is None else _of_listeners(self._task, positions)
        ranker = self._ranker(task, name, users, contents)
        return evaluate(task, ranker, filter_seen=self._filter_seen, ks=(K,), min_users=self.min_users, list_length=K)


def recall_by_dimension(
    held_out: HeldOutListening,
    contents: Float[np.ndarray, "contents dim"],
    users: Float[np.ndarray, "listeners dim"],
    positions: Int[np.ndarray, " listeners"] | None = None,
) -> dict[int, float]:
    """Returns recall@20 of the leading 8, 16, 32, ... and all dimensions, each normalised.

    Args:
        held_out: choices to be found.
        contents: vectors by row of the store.
        users: vectors of `held_out.user_rows`, or of `positions` of them.
        positions: positions in `held_out.user_rows`; null: all.

    Returns:
        Recall by number of dimensions, ascending; empty with too few listeners for a figure.
    """
    if len(users) < held_out.min_users:
        return {}
    found = {}
    for dim in dimensions_up_to(contents.shape[1]):
        name = f"{dim} dimensions"
        means = held_out.evaluate(name, leading(users, dim), leading(contents, dim), positions).means()
        found[dim] = means[RECALL]
    return found


def _of_listeners(task: EvaluationTask, positions: Int[np.ndarray, " some"]) -> EvaluationTask:
    return replace(
        task,
        user_rows=task.user_rows[positions],
        histories=task.histories.take(positions),
        targets=task.targets.take(positions),
        is_cold_user=task.is_cold_user[positions],
    )
