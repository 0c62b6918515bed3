"""A filter that leaves out plays that hardly began."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from towers.contract.schema import PLAY
from towers.data.histories import Histories
from towers.errors import UserError


class MinPlayedFraction:
    """Leaves out plays of less than a fraction of the content; plays of an unknown fraction stay.

    `features.min_played_fraction` says which plays are positive, and leaves the others in histories.

    Args:
        fraction: least share of the content's duration that a play has to last, above 0 and at most 1.

    Raises:
        UserError: a fraction out of range.
    """

    def __init__(self, fraction: float = 0.1):
        if not 0 < fraction <= 1:
            raise UserError(f"data.filters.min_played_fraction.fraction={fraction}: must lie over 0 and not over 1")
        self._fraction = fraction

    def keep(self, histories: Histories, num_contents: int) -> Bool[np.ndarray, " events"]:
        """See `Filter`."""
        played = np.asarray(histories.played_fraction)
        # Both sides are float32, so that a play of exactly 0.1 of a content is not below 0.1. Below 0: not known.
        is_short = (played >= 0) & (played < np.float32(self._fraction))
        return ~(is_short & (np.asarray(histories.action) == PLAY))

    def settings(self) -> dict[str, Any]:
        """See `Filter`."""
        return {"fraction": self._fraction}
