"""Inner products of vectors as a ranker."""

import numpy as np
from jaxtyping import Float, Int


class Vectors:
    """Ranks by the inner product of listener and content.

    Args:
        name: in reports.
        user_vectors: `[users of the task, dim]`.
        content_vectors: `[contents, dim]`.
    """

    def __init__(
        self,
        name: str,
        user_vectors: Float[np.ndarray, "users dim"],
        content_vectors: Float[np.ndarray, "contents dim"],
    ):
        self.name = name
        self._user_vectors = user_vectors
        self._content_vectors = content_vectors

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """One matrix product."""
        return self._user_vectors[positions] @ self._content_vectors.T
