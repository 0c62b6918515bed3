"""A filter that keeps events before a time, for splits that judge an earlier week."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from towers.data.histories import Histories


class Before:
    """Leaves out events at a time or later.

    Args:
        end_us: microseconds since 1970, UTC.
    """

    def __init__(self, end_us: int):
        self._end_us = end_us

    def keep(self, histories: Histories, num_contents: int) -> Bool[np.ndarray, " events"]:
        """See `Filter`."""
        return np.asarray(histories.timestamp_us) < self._end_us

    def settings(self) -> dict[str, Any]:
        """See `Filter`."""
        return {"end_us": self._end_us}
