"""The several tastes of one listener: parts of their history, each with a vector and a share.

One vector per listener is a mean, and between two tastes lies what belongs to neither. So what they chose is clustered
by its vectors, the user tower is run on each part of the history, and each result is averaged, half and half, with the
listener's own vector: what somebody is like at large helps every one of their tastes.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from jaxtyping import Float, Int

from towers.retrieval.encoders import EVENT_COLUMNS, Events
from towers.retrieval.export import Export

CHOSEN_FOR_ONE = 8
"""Different contents that make a taste of their own: somebody who chose 16 has two at most."""
AT_MOST = 6
LEAST_CHOSEN = 3
"""Positive events of a part that the user tower is run on; smaller parts are no taste."""
OWN_SHARE = 0.5
"""Of the listener's own vector in each taste's."""
ITERATIONS = 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tastes:
    """A listener's tastes, at least one.

    Args:
        vectors: `[tastes, dim]`, unit.
        shares: `[tastes]`, of the positive events that all tastes have, float64; they sum to 1.
    """

    vectors: Float[np.ndarray, "tastes dim"]
    shares: Float[np.ndarray, " tastes"]

    def affinity(self, vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows tastes"]:
        """Inner products of some contents with each taste."""
        return vectors @ self.vectors.T


def tastes_of(
    export: Export,
    events: Events,
    vector: Float[np.ndarray, " dim"],
    user_codes: Int[np.ndarray, " columns"],
) -> Tastes:
    """The tastes of somebody; one, their own vector, where they chose too little.

    Args:
        export: whose contents the events name.
        events: all that they did, in time order.
        vector: their own.
        user_codes: codes of their features.
    """
    parts = _parts(export, events)
    if not parts:
        return Tastes(vectors=np.asarray(vector)[None], shares=np.ones(1))
    codes = np.repeat(user_codes[None], len(parts), axis=0)
    mixed = (1 - OWN_SHARE) * export.encoder.encode_batch(parts, codes) + OWN_SHARE * vector
    weights = np.array([part.is_positive.sum() for part in parts], np.float64)
    # Where a part says the opposite of the whole nothing is left of both; rounding decides, and no division by 0.
    lengths = np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6)
    return Tastes(vectors=(mixed / lengths).astype(np.float32), shares=weights / weights.sum())


def _parts(export: Export, events: Events) -> list[Events]:
    """The parts of a history that are tastes; none where it is one taste."""
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
