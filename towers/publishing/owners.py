"""Vectors of artists and playlists, from those of their contents."""

import numpy as np
from jaxtyping import Bool, Float

from towers.features.ragged import Ragged


def place_owners(
    vectors: Float[np.ndarray, "contents dim"], members: Ragged, has_own: Bool[np.ndarray, " contents"]
) -> None:
    """Sets owners without a trained vector to the normalised mean of their members, in place.

    Args:
        vectors: unit vectors by content row; an owner whose members cancel out keeps its own.
        members: an artist's or playlist's contents by content row; empty for all others.
        has_own: whether the content's own vector is trained.
    """
    owners = np.flatnonzero((members.lengths > 0) & ~has_own)
    means = [vectors[members[owner]].mean(axis=0) for owner in owners.tolist()]  # all before any is moved
    for owner, mean in zip(owners.tolist(), means, strict=True):
        norm = np.linalg.norm(mean)
        if norm > 1e-6:
            vectors[owner] = mean / norm
