"""Several tastes of one listener: parts of their history, each with a vector and a share.

One vector per listener is a mean, and contents between two tastes belong to neither. So the listener's choices are
clustered by their vectors, the user tower is run on each part of the history, and each result is averaged, half and
half, with the listener's own vector, which improves each of the tastes.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from jaxtyping import Float, Int

from towers.retrieval.encoders import EVENT_COLUMNS, Events
from towers.retrieval.export import Export

CHOSEN_FOR_ONE = 8
"""Number of distinct contents for each taste: a listener who chose 16 has at most two."""
AT_MOST = 6
LEAST_CHOSEN = 3
"""Least number of positive events of a part for the user tower; smaller parts are no taste."""
OWN_SHARE = 0.5
"""Weight of the listener's own vector in the vector of each taste."""
ITERATIONS = 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tastes:
    """A listener's tastes, at least one.

    Args:
        vectors: `[tastes, dim]`, unit vectors.
        shares: `[tastes]`, share of each taste in the positive events of all tastes, float64; they sum to 1.
    """

    vectors: Float[np.ndarray, "tastes dim"]
    shares: Float[np.ndarray, " tastes"]

    def affinity(self, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows tastes"]:
        """Returns the inner products of contents with each taste."""
        return vectors @ self.vectors.T


def tastes_of(
    export: Export,
    events: Events,
    vector: Float[np.ndarray, " dim"],
    user_codes: Int[np.ndarray, " columns"],
) -> Tastes:
    """Returns the tastes of a listener; a single one, their own vector, where they chose too little.

    Args:
        export: export of the contents in the events.
        events: all events of the listener, in time order.
        vector: the listener's own vector.
        user_codes: codes of the listener's features.
    """
    parts = _parts(export, events)
    if not parts:
        return Tastes(vectors=np.asarray(vector)[None], shares=np.ones(1))
    codes = np.repeat(user_codes[None], len(parts), axis=0)
    mixed = (1 - OWN_SHARE) * export.encoder.encode_batch(parts, codes) + OWN_SHARE * vector
    weights = np.array([part.is_positive.sum() for part in parts], np.float64)
    # Where a part's vector is opposite to the listener's, the sum is nearly 0: rounding decides, without division by 0.
    lengths = np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6)
    return Tastes(vectors=(mixed / lengths).astype(np.float32), shares=weights / weights.sum())


def _parts(export: Export, events: Events) -> list[Events]:
    """Returns the parts of a history that are tastes; none where it is one taste."""
    chosen = np.unique(events.chosen_rows)
    count = min(len(chosen) // CHOSEN_FOR_ONE, AT_MOST)
    if count < 2:
        return []
    clusters = faiss.Kmeans(
        export.dim, count, niter=ITERATIONS, spherical=True, seed=0, min_points_per_centroid=1, verbose=False
    )
    clusters.train(np.ascontiguousarray(export.vectors[chosen], np.float32))
    assert clusters.centroids is not None
    met = events.content_row
    cluster = np.full(len(met), -1)
    cluster[met >= 0] = (export.vectors[met[met >= 0]] @ clusters.centroids.T).argmax(axis=1)
    masks = [cluster == place for place in range(count)]
    return [
        Events(**{name: getattr(events, name)[mask] for name in EVENT_COLUMNS})
        for mask in masks
        if (events.is_positive & mask).sum() >= LEAST_CHOSEN
    ]
