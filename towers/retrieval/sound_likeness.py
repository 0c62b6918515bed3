"""Similarity of contents by their sound alone."""

import numpy as np
from jaxtyping import Bool, Float, Integer

CLOSE_PERCENTILE = 99.5
"""Two contents are close by sound if their cosine is above this percentile over random pairs with sound."""

PAIRS = 20_000
"""Number of random pairs, of which a hundred are above the percentile."""


class SoundLikeness:
    """Decides which contents are close to each other by their sound alone.

    Args:
        vectors: `[contents, dim]`, unit vectors, or zeros for a content without sound; null if the export has none.
    """

    def __init__(self, vectors: Float[np.ndarray, "contents dim"] | None):
        self._vectors = vectors
        self._least = np.inf if vectors is None else _least_cosine(vectors)

    def are_close(
        self, rows: Integer[np.ndarray, " contents"], to: Integer[np.ndarray, " others"]
    ) -> Bool[np.ndarray, "contents others"]:
        """Returns which contents are close to which others; a content without sound is close to none."""
        if self._vectors is None:
            return np.zeros((len(rows), len(to)), bool)
        these, those = (np.asarray(self._vectors[np.asarray(part)], np.float32) for part in (rows, to))
        return these @ those.T > self._least

    def closest(
        self, rows: Integer[np.ndarray, " contents"], to: Integer[np.ndarray, " others"]
    ) -> Integer[np.ndarray, " contents"]:
        """Returns, for each content, the index of the first other content in `to` that is close; -1 if none is."""
        if self._vectors is None:
            return np.full(len(rows), -1)
        is_close = self.are_close(rows, to) & (rows[:, None] != to)
        return np.where(is_close.any(axis=1), is_close.argmax(axis=1), -1)


def _least_cosine(vectors: np.ndarray) -> float:
    """Returns the cosine above which two contents are close; infinite if no random pair has sound."""
    random = np.random.default_rng(0)
    first, second = random.integers(len(vectors), size=(2, 4 * PAIRS)) if len(vectors) else np.zeros((2, 0), np.int64)
    first, second = first[first != second], second[first != second]
    these, those = (np.asarray(vectors[rows], np.float32) for rows in (first, second))
    is_heard = these.any(axis=1) & those.any(axis=1)
    cosines = (these[is_heard] * those[is_heard]).sum(axis=1)[:PAIRS]
    return float(np.percentile(cosines, CLOSE_PERCENTILE)) if len(cosines) else np.inf
