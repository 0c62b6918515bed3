"""Vectors cut to their leading dimensions, and how much of listeners' lists that leaves."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract import schema
from towers.evaluation.ranking.top_k import RunningTopK
from towers.retrieval.export import Export
from towers.retrieval.index import share_found

K = 20
"""Contents of a list."""
LISTENERS = 500
"""Whose lists are compared: the share that is kept stands still to a hundredth or two."""
SMALLEST_DIM = 8
BLOCK = 8_192
"""Contents that listeners meet at a time."""


def dimensions_up_to(dim: int) -> list[int]:
    """Powers of two from 8, and `dim` itself.

    >>> dimensions_up_to(48), dimensions_up_to(4)
    ([8, 16, 32, 48], [4])
    """
    powers = [SMALLEST_DIM << place for place in range(dim.bit_length())]
    return [*(power for power in powers if power < dim), dim]


def leading(vectors: Float[np.ndarray, "rows dim"], dim: int) -> Float[np.ndarray, "rows leading"]:
    """The first `dim` dimensions as unit vectors, float32; what is zero stays zero."""
    cut = np.asarray(vectors[:, :dim], np.float32)
    return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)


def spread(vectors: Float[np.ndarray, "rows dim"], at_most: int = LISTENERS) -> Float[np.ndarray, "some dim"]:
    """So many rows, evenly spaced, in memory; all where there are fewer."""
    return np.asarray(vectors[np.unique(np.linspace(0, len(vectors) - 1, min(at_most, len(vectors))).astype(int))])


def nearest(
    users: Float[np.ndarray, "users dim"],
    contents: Float[np.ndarray, "contents dim"],
    allowed: Bool[np.ndarray, " contents"],
    dim: int,
) -> Int[np.ndarray, "users 20"]:
    """Rows of the 20 contents nearest to each listener by the leading dimensions, best first, -1 where there are fewer.

    Args:
        users: unit vectors.
        contents: by row; may be memory-mapped.
        allowed: which of them may stand in a list.
        dim: how many dimensions count, of at least as many.
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
    """Share of the nearest 20 by whole vectors that leading dimensions find, by how many these are.

    Args:
        whole: rows of the nearest 20.
        users: vectors on axes, as are the contents'.
        contents: as for `nearest`, as are the others.
        allowed: which of them may stand in a list.
        dims: how many dimensions are tried.
    """
    return {dim: share_found(whole, nearest(users, contents, allowed, dim)) for dim in dims}


def share_of_export(export: Export, dim: int) -> float:
    """Share of the nearest 20 contents that can be played, for some listeners of an export, that the leading dimensions
    keep; 1 without listeners."""
    users, allowed = spread(export.user_vectors), export.catalogue.of_kinds(schema.PLAYABLE_KINDS)
    whole = nearest(users, export.vectors, allowed, export.dim)
    return share_kept(whole, users, export.vectors, allowed, [dim])[dim]
