"""Overlap of two lists of the same listener, from 0 to 1.

Lists are content rows, best first, padded with -1.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Int

PERSISTENCE: Final = 0.9
"""Persistence of the rank-biased overlap, with which the first ten places have 86 % of the weight."""


def jaccard(
    first: Int[np.ndarray, "users ranks"], second: Int[np.ndarray, "users ranks"]
) -> Float[np.ndarray, " users"]:
    """Returns the Jaccard similarity: contents in both lists over contents in either; NaN if both are empty."""
    shared = _shared_by_depth(first, second)[:, -1]
    either = (first >= 0).sum(axis=1) + (second >= 0).sum(axis=1) - shared
    return np.where(either > 0, shared / np.maximum(either, 1), np.nan)


def rank_biased_overlap(
    first: Int[np.ndarray, "users ranks"], second: Int[np.ndarray, "users ranks"], persistence: float = PERSISTENCE
) -> Float[np.ndarray, " users"]:
    """Returns the share of common contents among the first d places, averaged over d with decreasing weight.

    This is the extrapolated form (Webber, Moffat and Zobel 2010, "A similarity measure for indefinite rankings"): with
    `A_d` that share, `p` the persistence and `k` the length, `A_k p^k + (1 - p) / p * sum of A_d p^d over d = 1 to k`.
    Lists of different lengths are compared up to the longer one; NaN if both are empty.
    """
    depths = np.arange(1, first.shape[1] + 1)
    longer = np.maximum((first >= 0).sum(axis=1), (second >= 0).sum(axis=1))
    agreement = _shared_by_depth(first, second) / np.maximum(np.minimum(depths, longer[:, None]), 1)
    weights = (1 - persistence) * persistence ** (depths - 1.0)
    overlap = agreement @ weights + agreement[:, -1] * persistence ** depths[-1]
    return np.where(longer > 0, overlap, np.nan)


def _shared_by_depth(
    first: Int[np.ndarray, "users ranks"], second: Int[np.ndarray, "users ranks"]
) -> Float[np.ndarray, "users ranks"]:
    """Returns the number of common contents in the first d places of both lists, by d."""
    new = np.zeros(first.shape)
    for depth in range(first.shape[1]):
        is_known = first[:, depth, None] == second[:, : depth + 1]
        is_known_the_other_way = second[:, depth, None] == first[:, :depth]
        new[:, depth] += is_known.any(axis=1) & (first[:, depth] >= 0)
        new[:, depth] += is_known_the_other_way.any(axis=1) & (second[:, depth] >= 0)
    return np.cumsum(new, axis=1)
