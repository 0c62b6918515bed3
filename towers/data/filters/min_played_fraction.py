"""Plays that hardly began."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from towers.contract.schema import PLAY
from towers.data.histories import Histories
from towers.errors import UserError


class MinPlayedFraction:
    """Leaves out plays of less than a share of the content; a play of which the share is not known stays.

    `features.min_played_fraction` says which plays are positive, and leaves the others in histories.

    Args:
        fraction: of the content's length, over 0 and at most 1.

    Raises:
        UserError: a fraction that cannot be.
    """

    def __init__(self, fraction: float = 0.1):
        if not 0 < fraction <= 1:
            raise UserError(f"data.filters.min_played_fraction.fraction={fraction}: must lie over 0 and not over 1")
        self._fraction = fraction

    def keep(self, histories: Histories, num_contents: int) -> Bool[np.ndarray, " events"]:
        """See `Filter`."""
        played = np.asarray(histories.played_fraction)
        # In float32 on both sides: 0.1 of a piece is a tenth, however it is rounded. Below 0 it is not known.
        is_short = (played >= 0) & (played < np.float32(self._fraction))
        return ~(is_short & (np.asarray(histories.action) == PLAY))

    def settings(self) -> dict[str, Any]:
        """See `Filter`."""
        return {"fraction": self._fraction}
