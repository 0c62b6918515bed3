"""Exact top-k columns of every row of scores, without a full sort; of a whole matrix, or tile by tile."""

import numpy as np
from jaxtyping import Float, Int

from towers.features.ragged import Ragged

_LOOKED_AT, _LEAST_STEP = 16, 4
"""A sample of 16 times `k` columns gives a first threshold, unless that is more than a quarter of all columns."""


def top_k(scores: Float[np.ndarray, "users contents"], k: int) -> Int[np.ndarray, "users ranks"]:
    """Returns the columns of the `k` highest scores of each row, best first; equal scores in the order of columns.

    A score of minus infinity excludes the column. `ranks` is `min(k, contents)`; if a row has fewer columns to rank,
    the places at its end are -1. Scores must not be NaN.

    >>> top_k(np.array([[0.5, 2.0, 0.5, -np.inf]]), 4)
    array([[ 1,  0,  2, -1]])
    """
    columns = best_columns(scores, k)
    found = np.take_along_axis(scores, columns, axis=1)
    best_first = np.argsort(-found, axis=1, kind="stable")
    is_ranked = np.take_along_axis(found, best_first, axis=1) > -np.inf
    return np.where(is_ranked, np.take_along_axis(columns, best_first, axis=1), -1)


def best_columns(scores: Float[np.ndarray, "users contents"], k: int) -> Int[np.ndarray, "users ranks"]:
    """Returns the columns of `top_k` in ascending order; columns of minus infinity fill up if there are too few others.

    >>> best_columns(np.array([[0.5, 2.0, 0.5, -np.inf]]), 2)
    array([[0, 1]])
    """
    users, contents = scores.shape
    k = min(k, contents)
    if users == 0 or k == 0:
        return np.zeros((users, k), dtype=np.int64)
    near = _near(scores, k)
    if near is not None:
        columns, found = near
        return np.take_along_axis(columns, best_columns(found, k), axis=1)
    # Scores are negated because np.partition is up to ten times slower from the other end if most scores are equal.
    level = -np.partition(-scores, k - 1, axis=1)[:, k - 1, None]
    chosen = scores >= level
    # If more columns tie for the last places than fit, the lowest columns are taken.
    for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) > k):
        tied = np.flatnonzero(scores[row] == level[row])
        chosen[row, tied[k - np.count_nonzero(scores[row] > level[row]) :]] = False
    return np.flatnonzero(chosen).reshape(users, k) - contents * np.arange(users)[:, None]


def _near(
    scores: Float[np.ndarray, "users contents"], k: int
) -> tuple[Int[np.ndarray, "users near"], Float[np.ndarray, "users near"]] | None:
    """Preselects the columns that reach the `k`th best score of a sample of columns, and returns them with scores.

    The `k` best are among them. Null if the preselection does not pay: with many ties, or few columns.
    """
    contents = scores.shape[1]
    step = contents // (_LOOKED_AT * k)
    if step < _LEAST_STEP:
        return None
    is_near = scores >= -np.partition(-scores[:, ::step], k - 1, axis=1)[:, k - 1, None]
    counts = np.count_nonzero(is_near, axis=1)
    if counts.max() > contents // _LEAST_STEP:
        return None
    places = np.flatnonzero(is_near)
    rows = places // contents
    ranks = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = np.full((len(scores), int(counts.max())), -1)
    found = np.full(columns.shape, -np.inf, scores.dtype)
    columns[rows, ranks], found[rows, ranks] = places - rows * contents, scores.ravel()[places]
    return columns, found


def levels(values: Float[np.ndarray, " values"], lists: Ragged, most: int) -> Float[np.ndarray, " lists"]:
    """Returns the `most`th largest value of each list, below which nothing needs to be sorted.

    It is minus infinity for a list with at most `most` values.

    Args:
        values: a value for each of `lists.values`.
        lists: lists to which the values belong.
        most: rank of the wanted value, at least 1.
    """
    found = np.full(len(lists), -np.inf, values.dtype)
    for row in np.flatnonzero(lists.lengths > most).tolist():
        found[row] = np.partition(values[lists.offsets[row] : lists.offsets[row + 1]], -most)[-most]
    return found


class RunningTopK:
    """Computes `top_k` of scores that arrive in tiles of columns, from left to right.

    Scores not above the k-th best so far are dropped. Higher scores are buffered, unsorted, beside the k best until the
    buffer of a row is full; with columns in random order about `k * log(contents / k)` scores per row are buffered.

    Args:
        users: number of rows.
        k: number of columns to keep; the buffers take `24 * users * k` bytes, or `8 * users * (k + 128)` if k is under
            64.
    """

    def __init__(self, users: int, k: int):
        self._k = k
        self._room = max(k, 64)
        width = k + 2 * self._room
        self._scores = np.full((users, width), -np.inf, dtype=np.float32)
        self._columns = np.full((users, width), -1, dtype=np.int32)
        self._filled = np.full(users, k)
        self._level = np.full(users, -np.inf, dtype=np.float32)

    def add(self, scores: Float[np.ndarray, "users tile"], first_column: int) -> None:
        """Adds scores (float32) of columns from `first_column` on, which are to the right of all columns so far."""
        if scores.size == 0 or self._k == 0:
            return
        if self._filled.max() > self._k + self._room:
            self._settle()
        passing = np.flatnonzero(scores > self._level[:, None])
        if len(passing) == 0:
            return
        users = passing // scores.shape[1]
        columns = passing - users * scores.shape[1]
        counts = np.bincount(users, minlength=len(scores))
        is_crowded = counts > self._room
        if is_crowded.any():
            self._add_whole(np.flatnonzero(is_crowded), scores, first_column)
            keep = ~is_crowded[users]
            users, columns = users[keep], columns[keep]
            counts = np.where(is_crowded, 0, counts)
        places = np.arange(len(users)) + (self._filled - np.cumsum(counts) + counts)[users]
        self._scores[users, places] = scores[users, columns]
        self._columns[users, places] = columns + first_column
        self._filled += counts

    def best(self) -> tuple[Int[np.ndarray, "users ranks"], Float[np.ndarray, "users ranks"]]:
        """Returns columns and scores of the `k` best of each row, best first, equal ones in the order of columns.

        If there are fewer, the rest is -1 and minus infinity.
        """
        self._settle()
        scores = self._scores[:, : self._k]
        order = np.argsort(-scores, axis=1, kind="stable")
        columns = np.take_along_axis(self._columns[:, : self._k], order, axis=1).astype(np.int64)
        scores = np.take_along_axis(scores, order, axis=1)
        return np.where(scores > -np.inf, columns, -1), scores

    def _add_whole(self, users: Int[np.ndarray, " some"], scores: Float[np.ndarray, "users tile"], first: int) -> None:
        """Adds a whole tile for rows whose buffer is too small, as in the first tile or with ascending scores."""
        arriving = np.arange(first, first + scores.shape[1], dtype=np.int32)
        arriving = np.broadcast_to(arriving, (len(users), len(arriving)))
        self._keep(
            users,
            np.concatenate([self._scores[users], scores[users]], axis=1),
            np.concatenate([self._columns[users], arriving], axis=1),
        )

    def _settle(self) -> None:
        used = self._filled.max(initial=self._k)
        self._keep(slice(None), self._scores[:, :used], self._columns[:, :used])

    def _keep(
        self,
        users: Int[np.ndarray, " some"] | slice,
        scores: Float[np.ndarray, "some places"],
        columns: Int[np.ndarray, "some places"],
    ) -> None:
        best = best_columns(scores, self._k)
        kept = np.take_along_axis(scores, best, axis=1)
        self._scores[users, : self._k] = kept
        self._scores[users, self._k :] = -np.inf
        self._columns[users, : self._k] = np.take_along_axis(columns, best, axis=1)
        self._filled[users] = self._k
        self._level[users] = kept.min(axis=1)
