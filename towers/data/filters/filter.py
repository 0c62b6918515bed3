"""The interface of a filter: which of a store's events stay, once the split has given each its period."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from towers.data.histories import Histories


@runtime_checkable  # for the tests, which check annotations at run time
class Filter(Protocol):
    """A rule that leaves events out before anything is counted."""

    def keep(self, histories: Histories, num_contents: int) -> Bool[np.ndarray, " events"]:
        """`[events]`, bool: whether each event stays.

        Args:
            histories: all listeners' events, memory-mapped.
            num_contents: number of content rows.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """Returns the settings that decide a store, by the names of their keys, as JSON values."""
        ...
