"""Who heard what as a sparse matrix, what goes with what in it, and what nobody heard.

Baselines that learn from other listeners take the histories of all listeners of the store before the cut, whether or
not a listener has a target. They see only whether a content was heard, not how often.
"""

from collections.abc import Iterator
from itertools import pairwise, repeat

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from towers.evaluation.ranking.top_k import levels
from towers.features.ragged import Ragged

_PRODUCTS = 1 << 24
"""Pairs of contents in a list that are counted at a time: what is held grows neither with contents nor with lists."""


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
    """In how many lists two contents stand together: blocks of rows, each with the slice it stands at.

    Of a matrix that is not binary, these are inner products of its columns.
    """
    by_content = sparse.csr_array(heard.T)
    # A content costs the lengths of all lists that hold it.
    costs = _pattern(by_content) @ np.diff(heard.indptr).astype(np.float64)
    blocks = (np.cumsum(costs) // _PRODUCTS).astype(np.int64)
    starts = np.flatnonzero(np.diff(blocks, prepend=-1)).tolist()
    for start, stop in pairwise([*starts, num_contents]):
        yield slice(start, stop), sparse.csr_array(by_content[start:stop] @ heard)


def cosine_neighbours(
    heard: sparse.csr_array, num_contents: int, neighbours: int, damping: float = 0.0
) -> sparse.csr_array:
    """`[contents, contents]`: each row holds a content's cosines with its nearest, 0 elsewhere and for itself.

    Of contents equally near, those of lower rows; a row's nearest come first.

    Args:
        heard: `[lists, contents]`, not negative.
        num_contents: its columns.
        neighbours: at most so many a content.
        damping: a cosine is multiplied by n / (n + damping), where n lists hold both contents; 0: by nothing.
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
        together.sort_indices()  # of the same contents as the products, which are all above 0
        damped = products.data * (together.data / (together.data + damping))
        found.append(_nearest(products, damped, rows.start, norms, neighbours))
    return sparse.csr_array(sparse.vstack(found))


def _pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    """1 where the matrix holds anything."""
    return sparse.csr_array((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)


def _nearest(
    products: sparse.csr_array,
    damped: Float[np.ndarray, " products"],
    first: int,
    norms: Float[np.ndarray, " contents"],
    neighbours: int,
) -> sparse.csr_array:
    """Only contents that stand together with others are looked at: of a large catalogue, few."""
    lists = Ragged(products.indptr.astype(np.int64), products.indices)
    rows, columns = lists.list_of_value, lists.values
    cosines = damped / norms[first + rows] / norms[columns]
    candidates = cosines >= levels(cosines, lists, neighbours + 1)[rows]  # with itself
    rows, columns, cosines = rows[candidates], columns[candidates], cosines[candidates]
    # Rising by row, then falling by cosine, which is at most 1 and so never reaches the row before; the sort is stable.
    order = np.argsort(np.where(columns == first + rows, np.inf, rows - cosines.astype(np.float64) / 2), kind="stable")
    order = order[: len(order) - int((columns == first + rows).sum())]
    lengths = np.bincount(rows[order], minlength=len(lists))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    kept = order[np.arange(len(order)) - np.repeat(starts[:-1], lengths) < neighbours]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, neighbours))])
    return sparse.csr_array((cosines[kept], columns[kept], offsets), shape=products.shape)
