"""The orthogonal map that brings the vectors of one space nearest to those of another."""

import numpy as np
from jaxtyping import Float, Int

from towers.retrieval.rotation import SpaceRotation, SpaceVersion

BLOCK = 65_536
"""Number of contents that are read at a time: vectors may be memory-mapped, and not fit into memory."""


def fit_rotation(
    source: SpaceVersion,
    target: SpaceVersion,
    source_vectors: Float[np.ndarray, "contents dim"],
    target_vectors: Float[np.ndarray, "others dim"],
    source_rows: Int[np.ndarray, " shared"],
    target_rows: Int[np.ndarray, " shared"],
) -> SpaceRotation:
    """Fits the orthogonal map with the least sum of squared distances over contents that are in both spaces.

    Orthogonal Procrustes: `U V^T` of the singular value decomposition `U S V^T` of the sum of `target source^T`
    (Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem"), in float64. Reflections are
    allowed: a mirrored space is as good as a rotated one.

    Args:
        source: version that the map starts from.
        target: version that it leads to.
        source_vectors: vectors of the source, by row.
        target_vectors: vectors of the target, by row.
        source_rows: rows of the contents that are fitted.
        target_rows: rows of the same contents, in the same order.

    Raises:
        ValueError: there are fewer contents than dimensions, so that the map is not determined.
    """
    dim, shared = source_vectors.shape[1], len(source_rows)
    if shared < dim:
        raise ValueError(f"{shared} contents are too few to fit a rotation of {dim} dimensions")
    products, squares = np.zeros((dim, dim)), 0.0
    for start in range(0, shared, BLOCK):
        block = slice(start, start + BLOCK)
        sources, targets = (
            np.asarray(vectors[rows[block]], np.float64)
            for vectors, rows in ((source_vectors, source_rows), (target_vectors, target_rows))
        )
        products += targets.T @ sources
        squares += float((sources**2).sum() + (targets**2).sum())
    left, singular_values, right = np.linalg.svd(products)
    # The sum of |target - matrix source|^2, written out.
    distances = max(squares - 2 * float(singular_values.sum()), 0.0)
    residual = float(np.sqrt(distances / shared))
    return SpaceRotation(source=source, target=target, matrix=left @ right, shared=shared, residual=residual)
