"""Where artists and playlists stand in the space."""

import numpy as np
from jaxtyping import Bool, Float

from towers.features.ragged import Ragged


def with_means_of_members(
    vectors: Float[np.ndarray, "contents dim"], members: Ragged, has_own: Bool[np.ndarray, " contents"]
) -> Float[np.ndarray, "contents dim"]:
    """Owners without a trained vector become the normalised mean of their members.

    Args:
        vectors: unit, by content row.
        members: an artist's or playlist's contents by content row; empty for all others.
        has_own: whether the content's own vector is trained.

    Returns:
        Unit vectors; an owner whose members cancel out keeps its own.
    """
    placed = vectors.copy()
    owners = np.flatnonzero((members.lengths > 0) & ~has_own)
    for owner in owners.tolist():
        mean = vectors[members[owner]].mean(axis=0)
        norm = np.linalg.norm(mean)
        if norm > 1e-6:
            placed[owner] = mean / norm
    return placed
