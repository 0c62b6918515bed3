"""Ranking by scorers with inner products; contents unknown to the scorer come after all others."""

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
    """A scorer by inner products; unknown contents score lowest, in the order of content rows."""

    @property
    def user_vectors(self) -> Float[np.ndarray, "users dim"]:
        """Vectors of the task's listeners."""
        ...

    @property
    def content_vectors(self) -> Float[np.ndarray, "contents dim"]:
        """Vectors of the store's contents; those of unknown contents have no meaning."""
        ...

    @property
    def is_known(self) -> Bool[np.ndarray, " contents"]:
        """True for contents that the scorer knows."""
        ...


class ProductRanker:
    """Ranks by the vectors of a scorer, tile by tile.

    The lists are those of `DenseRanker`, except for the last digit of a product (`VectorRanker`). Unknown contents
    score 1 less than the last known content of the list or 0, whichever is lower.

    Args:
        task: listeners, candidates and targets.
        scorer: scorer with the vectors.

    Raises:
        ValueError: a vector or a product is not finite.
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
        """Fills the empty places of the lists of known contents with unknown ones."""
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
    """Returns whether each known candidate has a nonzero vector; `VectorRanker` excludes vectors of zeros."""
    return bool(np.asarray(scorer.content_vectors)[task.is_candidate & scorer.is_known].any(axis=1).all())
