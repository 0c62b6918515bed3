"""Lists of scorers by inner products that know nothing of some contents, which come after all others."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.evaluation.ranking.rankers import Ranked, Ranking, Scorer
from towers.evaluation.ranking.shared_order import SharedOrder
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


@runtime_checkable
class ProductScorer(Scorer, Protocol):
    """A scorer by inner products; what it knows nothing of scores lowest, in the order of content rows."""

    @property
    def user_vectors(self) -> Float[np.ndarray, "users dim"]:
        """Holds a vector for each listener of the task."""
        ...

    @property
    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Holds a vector for each content of the store; those of unknown ones say nothing."""
        ...

    @property
    def is_known(self) -> Bool[np.ndarray, " contents"]:
        """Tells which contents the scorer knows something of."""
        ...


class ProductRanker:
    """Ranks a scorer that gives its vectors, tile by tile.

    The lists are those of `DenseRanker`, but for the last digit of a product (`VectorRanker`).
    What is not known scores 1 less than the last place of what is, and less than 0.

    Args:
        task: what is ranked for whom.
        scorer: gives the vectors.

    Raises:
        ValueError: vectors that are not finite, or whose products would not be.
    """

    def __init__(self, task: EvaluationTask, scorer: ProductScorer):
        known = np.where(scorer.is_known[:, None], scorer.content_vectors, np.float32(0))
        self._known = VectorRanker(task, scorer.name, scorer.user_vectors, known)
        self.name, self.block_size = scorer.name, self._known.block_size
        self._task = task
        unknown = task.is_candidate & ~scorer.is_known
        everything = SharedOrder(np.flatnonzero(unknown), task.num_contents)
        cold = SharedOrder(np.flatnonzero(unknown & task.is_cold), task.num_contents)
        self._unknown: dict[Ranking, SharedOrder] = {
            "everything": everything,
            "unseen": everything,
            "unseen_cold": cold,
        }

    def rank(self, positions: Int[np.ndarray, " users"], k: int) -> dict[Ranking, Ranked]:
        """See `Ranker`."""
        heard = self._task.histories.take(positions).unique()
        nothing = Ragged(np.zeros_like(heard.offsets), heard.values[:0])
        return {
            ranking: self._filled(ranking, known, nothing if ranking == "everything" else heard)
            for ranking, known in self._known.rank(positions, k).items()
        }

    def _filled(self, ranking: Ranking, known: Ranked, left_out: Ragged) -> Ranked:
        """With what is not known at the places that the list of what is known does not fill."""
        counts = np.count_nonzero(known.rows >= 0, axis=1)
        short = np.flatnonzero(counts < known.rows.shape[1])
        if not len(short):
            return known
        rows, scores, counts = known.rows.copy(), known.scores.copy(), counts[short, None]
        after = np.arange(rows.shape[1]) - counts
        rest = np.take_along_axis(
            self._unknown[ranking].first(left_out.take(short), rows.shape[1]), np.maximum(after, 0), axis=1
        )
        lowest = np.take_along_axis(scores[short], np.maximum(counts - 1, 0), axis=1)
        below = np.where(counts > 0, np.minimum(lowest, 0), 0) - np.float32(1)
        rows[short] = np.where(after >= 0, rest, rows[short])
        scores[short] = np.where((after >= 0) & (rest >= 0), below, scores[short])
        return Ranked(rows=rows, scores=scores)


def has_a_place(task: EvaluationTask, scorer: ProductScorer) -> bool:
    """Whether each candidate that the scorer knows has a vector: one of zeros is in no list of a `VectorRanker`."""
    return bool(np.asarray(scorer.content_vectors)[task.is_candidate & scorer.is_known].any(axis=1).all())
