"""Who heard what as a sparse matrix, what goes with what in it, and what nobody heard.

Baselines that learn from other listeners take the histories of all listeners of the store before the cut, whether or
not a listener has a target. They see only whether a content was heard, not how often.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from towers.features.ragged import Ragged

_BLOCK = 512
"""Rows of a contents x contents matrix that are held at a time."""


def heard_matrix(histories: Ragged, num_contents: int) -> sparse.csr_array:
    """`[lists, contents]`, float32: 1 where the list holds the content at all."""
    unique = histories.unique()
    ones = np.ones(len(unique.values), dtype=np.float32)
    return sparse.csr_array((ones, unique.values, unique.offsets), shape=(len(unique), num_contents))


def heard_by_anybody(histories: Ragged, num_contents: int) -> Bool[np.ndarray, " contents"]:
    """Whether any list holds the content."""
    return np.bincount(histories.values, minlength=num_contents) > 0


def unknown_last(
    scores: Float[np.ndarray, "users contents"], is_known: Bool[np.ndarray, " contents"]
) -> Float[np.ndarray, "users contents"]:
    """The scores, with what a baseline knows nothing of 1 below the lowest of what it knows, and below 0."""
    if is_known.all():
        return scores
    lowest = scores[:, is_known].min(axis=1, initial=0.0)
    return np.where(is_known, scores, lowest[:, None] - 1).astype(scores.dtype)


def heard_together(heard: sparse.csr_array, num_contents: int) -> Iterator[tuple[slice, sparse.csr_array]]:
    """In how many lists two contents stand together: blocks of rows, each with the slice it stands at."""
    by_content = sparse.csr_array(heard.T)
    for start in range(0, num_contents, _BLOCK):
        rows = slice(start, min(start + _BLOCK, num_contents))
        yield rows, sparse.csr_array(by_content[rows] @ heard)


def cosine_neighbours(heard: sparse.csr_array, num_contents: int, neighbours: int) -> sparse.csr_array:
    """`[contents, contents]`: each row holds a content's cosines with its nearest, 0 elsewhere and for itself.

    Of contents equally near, those of lower rows.
    """
    # A content in no list is at cosine 0 of all; the 1 avoids 0 / 0.
    norms = np.sqrt(np.maximum(np.asarray(heard.sum(axis=0)), 1.0)).astype(np.float32)
    return sparse.csr_array(
        sparse.vstack(
            [_nearest(counts, rows.start, norms, neighbours) for rows, counts in heard_together(heard, num_contents)]
        )
    )


def _nearest(
    counts: sparse.csr_array, first: int, norms: Float[np.ndarray, " contents"], neighbours: int
) -> sparse.csr_array:
    """Only contents that stand together with others are looked at: of a large catalogue, few."""
    counts.sort_indices()
    lists = Ragged(counts.indptr.astype(np.int64), counts.indices)
    rows, columns = lists.list_of_value, lists.values
    cosines = counts.data / norms[first + rows] / norms[columns]
    # Rising by row, then falling by cosine, which is at most 1 and so never reaches the row before; the sort is stable.
    order = np.argsort(np.where(columns == first + rows, np.inf, rows - cosines.astype(np.float64) / 2), kind="stable")
    order = order[: len(order) - int((columns == first + rows).sum())]
    lengths = np.bincount(rows[order], minlength=len(lists))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    kept = order[np.arange(len(order)) - np.repeat(starts[:-1], lengths) < neighbours]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, neighbours))])
    return sparse.csr_array((cosines[kept], columns[kept], offsets), shape=counts.shape)
