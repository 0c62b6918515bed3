"""Sparse matrices of heard contents, neighbours of contents in them, and scores of contents that no listener heard.

Baselines that learn from other listeners use the histories of all listeners of the store before the cut, with or
without a target. They read only whether a content was heard, not how often.
"""

from collections.abc import Iterator
from itertools import pairwise, repeat

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from towers.evaluation.ranking.top_k import levels
from towers.features.ragged import Ragged

_PRODUCTS = 1 << 24
"""Number of content pairs counted at a time, which bounds the memory for any number of contents and lists."""


def heard_matrix(histories: Ragged, num_contents: int) -> sparse.csr_array:
    """Returns a binary matrix, `[lists, contents]`, float32: 1 where the list contains the content."""
    unique = histories.unique()
    ones = np.ones(len(unique.values), dtype=np.float32)
    return sparse.csr_array((ones, unique.values, unique.offsets), shape=(len(unique), num_contents))


def heard_by_anybody(histories: Ragged, num_contents: int) -> Bool[np.ndarray, " contents"]:
    """Returns whether any list contains each content."""
    return np.bincount(histories.values, minlength=num_contents) > 0


def unknown_last(
    scores: Float[np.ndarray, "users contents"], is_known: Bool[np.ndarray, " contents"]
) -> Float[np.ndarray, "users contents"]:
    """Replaces scores of unknown contents by 1 less than the lowest known score or 0, whichever is lower."""
    if is_known.all():
        return scores
    lowest = scores[:, is_known].min(axis=1, initial=0.0)
    return np.where(is_known, scores, lowest[:, None] - 1).astype(scores.dtype)


def heard_together(heard: sparse.csr_array, num_contents: int) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Yields the number of lists that contain two contents, as blocks of rows, each with its slice of rows.

    For a matrix that is not binary, these are inner products of its columns.
    """
    by_content = sparse.csr_array(heard.T)
    # The cost of a content is the total length of the lists that contain it.
    costs = _pattern(by_content) @ np.diff(heard.indptr).astype(np.float64)
    blocks = (np.cumsum(costs) // _PRODUCTS).astype(np.int64)
    starts = np.flatnonzero(np.diff(blocks, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, num_contents]):
        yield slice(start, stop), sparse.csr_array(by_content[start:stop] @ heard)


def cosine_neighbours(
    heard: sparse.csr_array, num_contents: int, neighbours: int, damping: float = 0.0
) -> sparse.csr_array:
    """Returns, `[contents, contents]`, the cosines of each content with its nearest others; 0 elsewhere.

    Ties go to lower rows; the entries of a row are in descending order.

    Args:
        heard: `[lists, contents]`, values of 0 or more.
        num_contents: number of its columns.
        neighbours: largest number of neighbours of a content.
        damping: a cosine is multiplied by n / (n + damping), where n lists contain both contents; 0: no damping.
    """
    sums = np.asarray(heard.power(2).sum(axis=0))
    norms = np.sqrt(np.where(sums > 0, sums, 1.0)).astype(np.float32)
    blocks = heard_together(heard, num_contents)
    is_binary = bool((heard.data == 1).all())
    counts = repeat(None) if is_binary or not damping else heard_together(_pattern(heard), num_contents)
    found = []
    for (rows, products), counted in zip(blocks, counts, strict=False):
        products.sort_indices()
        together = products if counted is None else counted[1]
        together.sort_indices()  # now in the order of `products`: both have the same entries, as all are above 0
        damped = products.data * (together.data / (together.data + damping))
        found.append(_nearest(products, damped, rows.start, norms, neighbours))
    return sparse.csr_array(sparse.vstack(found))


def _pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    """Returns a matrix with 1 for every stored entry."""
    return sparse.csr_array((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)


def _nearest(
    products: sparse.csr_array,
    damped: Float[np.ndarray, " products"],
    first: int,
    norms: Float[np.ndarray, " contents"],
    neighbours: int,
) -> sparse.csr_array:
    """Returns the nearest neighbours of a block of contents, searching only contents with a common list."""
    lists = Ragged(products.indptr.astype(np.int64), products.indices)
    rows, columns = lists.list_of_value, lists.values
    cosines = damped / norms[first + rows] / norms[columns]
    candidates = cosines >= levels(cosines, lists, neighbours + 1)[rows]  # with itself
    rows, columns, cosines = rows[candidates], columns[candidates], cosines[candidates]
    # Ascending by row, then descending by cosine, which is at most 1 and so never reaches the previous row.
    order = np.argsort(np.where(columns == first + rows, np.inf, rows - cosines.astype(np.float64) / 2), kind="stable")
    order = order[: len(order) - int((columns == first + rows).sum())]
    lengths = np.bincount(rows[order], minlength=len(lists))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    kept = order[np.arange(len(order)) - np.repeat(starts[:-1], lengths) < neighbours]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, neighbours))])
    return sparse.csr_array((cosines[kept], columns[kept], offsets), shape=products.shape)
