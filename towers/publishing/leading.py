"""Vectors truncated to their leading dimensions, and how much of listeners' lists that keeps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract import schema
from towers.evaluation.ranking.top_k import RunningTopK
from towers.retrieval.export import Export
from towers.retrieval.index import share_found

K = 20
"""Number of contents in a list."""
LISTENERS = 500
"""Number of listeners whose lists are compared; the share that is kept is then stable to a hundredth or two."""
SMALLEST_DIM = 8
BLOCK = 8_192
"""Number of contents that are scored at a time."""


def dimensions_up_to(dim: int) -> list[int]:
    """Returns powers of two from 8, and `dim` itself.

    >>> dimensions_up_to(48), dimensions_up_to(4)
    ([8, 16, 32, 48], [4])
    """
    powers = [SMALLEST_DIM << place for place in range(dim.bit_length())]
    return [*(power for power in powers if power < dim), dim]


def leading(vectors: Float[np.ndarray, "rows dim"], dim: int) -> Float[np.ndarray, "rows leading"]:
    """Returns the first `dim` dimensions as unit vectors, float32; zero vectors stay zero."""
    cut = np.asarray(vectors[:, :dim], np.float32)
    return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)


def spread(vectors: Float[np.ndarray, "rows dim"], at_most: int = LISTENERS) -> Float[np.ndarray, "some dim"]:
    """Returns at most `at_most` rows, evenly spaced, in memory."""
    return np.asarray(vectors[np.unique(np.linspace(0, len(vectors) - 1, min(at_most, len(vectors))).astype(int))])


def nearest(
    users: Float[np.ndarray, "users dim"],
    contents: Float[np.ndarray, "contents dim"],
    allowed: Bool[np.ndarray, " contents"],
    dim: int,
) -> Int[np.ndarray, "users 20"]:
    """Returns the rows of the 20 contents nearest to each listener by the leading dimensions, best first, -1 where
    there are fewer.

    Args:
        users: unit vectors.
        contents: vectors by row; may be memory-mapped.
        allowed: which contents may be in a list.
        dim: number of leading dimensions to use, at most the vectors' dimension.
    """
    best, queries = RunningTopK(len(users), K), leading(users, dim)
    for first in range(0, len(contents), BLOCK):
        scores = queries @ leading(contents[first : first + BLOCK], dim).T
        best.add(np.where(allowed[first : first + BLOCK], scores, np.float32(-np.inf)), first)
    return best.best()[0]


def share_kept(
    whole: Int[np.ndarray, "users 20"],
    users: Float[np.ndarray, "users dim"],
    contents: Float[np.ndarray, "contents dim"],
    allowed: Bool[np.ndarray, " contents"],
    dims: Sequence[int],
) -> dict[int, float]:
    """Returns the share of the nearest 20 by whole vectors that leading dimensions find, by the number of dimensions.

    Args:
        whole: rows of the nearest 20.
        users: vectors on principal axes, like the contents'.
        contents: as in `nearest`.
        allowed: which contents may be in a list.
        dims: numbers of dimensions to try.
    """
    return {dim: share_found(whole, nearest(users, contents, allowed, dim)) for dim in dims}


def share_of_export(export: Export, dim: int) -> float:
    """Returns the share of the nearest 20 playable contents, for some listeners of an export, that the leading
    dimensions keep; 1 without listeners."""
    users, allowed = spread(export.user_vectors), export.catalogue.of_kinds(schema.PLAYABLE_KINDS)
    whole = nearest(users, export.vectors, allowed, export.dim)
    return share_kept(whole, users, export.vectors, allowed, [dim])[dim]
