"""Inner products of vectors as a ranker."""

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.rankers import DenseRanker, Ranked, Ranking
from towers.evaluation.task import EvaluationTask


class VectorRanker:
    """Ranks by the inner product of listener and content.

    Args:
        task: what is ranked for whom.
        name: in reports.
        user_vectors: `[users of the task, dim]`.
        content_vectors: `[contents, dim]`.
    """

    def __init__(
        self,
        task: EvaluationTask,
        name: str,
        user_vectors: Float[np.ndarray, "users dim"],
        content_vectors: Float[np.ndarray, "contents dim"],
    ):
        self.name = name
        self._user_vectors = user_vectors
        self._content_vectors = content_vectors
        self._ranker = DenseRanker(task, self)
        self.block_size = self._ranker.block_size

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """One matrix product."""
        return self._user_vectors[positions] @ self._content_vectors.T

    def rank(self, positions: Int[np.ndarray, " users"], k: int) -> dict[Ranking, Ranked]:
        """See `rankers.Ranker`."""
        return self._ranker.rank(positions, k)
