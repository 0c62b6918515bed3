"""Drift of one version's vectors from another's, on contents that both have: figures that need no listeners."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from towers.retrieval.index import ExactIndex
from towers.retrieval.rotation import SpaceRotation

NEIGHBOURS = 10
AT_MOST, QUERIES = 20_000, 1_000
"""Largest numbers of contents that are compared, and of those whose neighbours are; figures are stable with fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Drift from an earlier version to a new one, over contents of both.

    Args:
        contents: number of compared contents; a sample if there are many.
        neighbour_overlap: share of the nearest ten among these contents, each within its own space, that are the same;
            no map changes it.
        cosine_before_map: mean inner product of a content's earlier vector with its new one.
        cosine_after_map: the same with new vectors mapped.
        centroid_shift_before_map: distance between the means of the vectors, 0 to 2.
        centroid_shift_after_map: the same with new vectors mapped.
        norm_shift: mean length of the new vectors less that of the earlier ones.
    """

    contents: int
    neighbour_overlap: float
    cosine_before_map: float
    cosine_after_map: float
    centroid_shift_before_map: float
    centroid_shift_after_map: float
    norm_shift: float


def drift_between(
    earlier_vectors: Float[np.ndarray, "others dim"],
    new_vectors: Float[np.ndarray, "contents dim"],
    earlier_rows: Int[np.ndarray, " shared"],
    new_rows: Int[np.ndarray, " shared"],
    rotation: SpaceRotation,
    seed: int = 0,
) -> Drift:
    """Measures the drift.

    Args:
        earlier_vectors: unit vectors, by row.
        new_vectors: unit vectors, by row, before the map.
        earlier_rows: rows of the contents that both have, at least one.
        new_rows: rows of the same contents, in the same order.
        rotation: map from the new space to the earlier one.
        seed: seed of the sample of 20,000 where there are more, and of the 1,000 whose neighbours are compared.
    """
    draws = np.random.default_rng(seed)
    chosen = np.sort(draws.permutation(len(new_rows))[:AT_MOST])
    earlier = np.asarray(earlier_vectors[earlier_rows[chosen]], np.float32)
    new = np.asarray(new_vectors[new_rows[chosen]], np.float32)
    mapped = rotation.apply(new)
    queries = np.sort(draws.permutation(len(chosen))[:QUERIES])
    return Drift(
        contents=len(chosen),
        neighbour_overlap=overlap_of_neighbours(earlier, new, queries),
        cosine_before_map=_mean_product(earlier, new),
        cosine_after_map=_mean_product(earlier, mapped),
        centroid_shift_before_map=_centroid_shift(earlier, new),
        centroid_shift_after_map=_centroid_shift(earlier, mapped),
        norm_shift=float((np.linalg.norm(new, axis=1) - np.linalg.norm(earlier, axis=1)).mean()),
    )


def overlap_of_neighbours(
    first: Float[np.ndarray, "contents dim"],
    second: Float[np.ndarray, "contents other_dim"],
    queries: Int[np.ndarray, " queries"],
) -> float:
    """Returns the mean share of the nearest ten contents that are the same in two spaces; of fewer where there are no
    ten.

    A single content has no neighbours that could differ: 1.
    """
    k = min(NEIGHBOURS, len(first) - 1)
    if k < 1:
        return 1.0
    both = (_neighbours(first, queries, k), _neighbours(second, queries, k))
    return float(np.mean([len(np.intersect1d(one, other)) / k for one, other in zip(*both, strict=True)]))


def _neighbours(
    vectors: Float[np.ndarray, "contents dim"], queries: Int[np.ndarray, " queries"], k: int
) -> Int[np.ndarray, "queries k"]:
    """Returns the nearest contents, without the content itself, which may not come first among equals."""
    found, _ = ExactIndex(vectors).search(vectors[queries], k + 1)
    return np.array([row[row != query][:k] for row, query in zip(found, queries, strict=True)])


def _mean_product(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.einsum("rd,rd->r", first, second).mean())


def _centroid_shift(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first.mean(axis=0, dtype=np.float64) - second.mean(axis=0, dtype=np.float64)))
