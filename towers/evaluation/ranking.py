"""The k best columns of every row of scores, exactly, without sorting the rest."""

import numpy as np
from jaxtyping import Float, Int


def top_k(scores: Float[np.ndarray, "users contents"], k: int) -> Int[np.ndarray, "users ranks"]:
    """Columns of the `k` highest scores of each row, best first; equal scores in the order of columns.

    A score of minus infinity leaves the column out. `ranks` is `min(k, contents)`; where a row has fewer
    columns to rank than that, the places at its end hold -1. Scores must not be NaN.

    >>> top_k(np.array([[0.5, 2.0, 0.5, -np.inf]]), 4)
    array([[ 1,  0,  2, -1]])
    """
    users, contents = scores.shape
    k = min(k, contents)
    if users == 0 or k == 0:
        return np.zeros((users, k), dtype=np.int64)
    threshold = np.partition(scores, contents - k, axis=1)[:, contents - k, None]
    above = scores > threshold
    level = scores == threshold
    # A partition alone would pick any of the columns that tie for the last places.
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (level & (np.cumsum(level, axis=1, dtype=np.int32) <= room))
    columns = np.nonzero(chosen)[1].reshape(users, k)
    best_first = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    ranked = np.take_along_axis(columns, best_first, axis=1)
    return np.where(np.take_along_axis(scores, ranked, axis=1) > -np.inf, ranked, -1)
