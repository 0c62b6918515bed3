"""Who heard what as a sparse matrix, what goes with what in it, and what nobody heard.

Baselines that learn from other listeners take the histories of all listeners of the store before the cut, whether or
not a listener has a target. They see only whether a content was heard, not how often.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from towers.evaluation.ranking import top_k
from towers.features.ragged import Ragged

_BLOCK = 512
"""Rows of a contents x contents matrix that are dense at a time."""


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


def heard_together(
    heard: sparse.csr_array, num_contents: int
) -> Iterator[tuple[slice, Float[np.ndarray, "block contents"]]]:
    """In how many lists two contents stand together: blocks of rows, each with the slice it stands at."""
    by_content = sparse.csr_array(heard.T)
    for start in range(0, num_contents, _BLOCK):
        rows = slice(start, min(start + _BLOCK, num_contents))
        yield rows, (by_content[rows] @ heard).toarray()


def cosine_neighbours(heard: sparse.csr_array, num_contents: int, neighbours: int) -> sparse.csr_array:
    """`[contents, contents]`: each row holds a content's cosines with its nearest, 0 elsewhere and for itself."""
    # A content in no list is at cosine 0 of all; the 1 avoids 0 / 0.
    norms = np.sqrt(np.maximum(np.asarray(heard.sum(axis=0)), 1.0)).astype(np.float32)
    blocks = []
    for rows, counts in heard_together(heard, num_contents):
        cosines = counts / norms[rows, None] / norms
        contents = np.arange(rows.start, rows.stop)
        cosines[contents - rows.start, contents] = 0.0
        nearest = top_k(cosines, neighbours)
        block = sparse.csr_array(
            (
                np.take_along_axis(cosines, nearest, axis=1).ravel(),
                nearest.ravel(),
                np.arange(len(contents) + 1) * nearest.shape[1],
            ),
            shape=(len(contents), num_contents),
        )
        block.eliminate_zeros()
        blocks.append(block)
    return sparse.csr_array(sparse.vstack(blocks))
