"""Which contents are close to each other by their sound alone."""

import numpy as np
from jaxtyping import Bool, Float, Integer

CLOSE_PERCENTILE = 99.5
"""Contents are close by sound where their cosine is above this percentile of random pairs that have sound."""

PAIRS = 20_000
"""Random pairs; some hundred are above the percentile."""


class SoundLikeness:
    """Which contents are close to each other by their sound alone.

    Args:
        vectors: `[contents, dim]`, unit, or zeros where there is no sound; null where the export has none.
    """

    def __init__(self, vectors: Float[np.ndarray, "contents dim"] | None):
        self._vectors = vectors
        self._least = np.inf if vectors is None else _least_cosine(vectors)

    def are_close(
        self, rows: Integer[np.ndarray, " contents"], to: Integer[np.ndarray, " others"]
    ) -> Bool[np.ndarray, "contents others"]:
        """Which are close to which; a content without sound is close to none."""
        if self._vectors is None:
            return np.zeros((len(rows), len(to)), bool)
        these, those = (np.asarray(self._vectors[np.asarray(part)], np.float32) for part in (rows, to))
        return these @ those.T > self._least

    def closest(
        self, rows: Integer[np.ndarray, " contents"], to: Integer[np.ndarray, " others"]
    ) -> Integer[np.ndarray, " contents"]:
        """For each the place of the first in `to` that is close and another content; -1 where none is."""
        if self._vectors is None:
            return np.full(len(rows), -1)
        is_close = self.are_close(rows, to) & (rows[:, None] != to)
        return np.where(is_close.any(axis=1), is_close.argmax(axis=1), -1)


def _least_cosine(vectors: np.ndarray) -> float:
    """The cosine above which two contents are close; infinite where fewer than two have sound."""
    random = np.random.default_rng(0)
    first, second = random.integers(len(vectors), size=(2, 4 * PAIRS)) if len(vectors) else np.zeros((2, 0), np.int64)
    first, second = first[first != second], second[first != second]
    these, those = (np.asarray(vectors[rows], np.float32) for rows in (first, second))
    is_heard = these.any(axis=1) & those.any(axis=1)
    cosines = (these[is_heard] * those[is_heard]).sum(axis=1)[:PAIRS]
    return float(np.percentile(cosines, CLOSE_PERCENTILE)) if len(cosines) else np.inf
