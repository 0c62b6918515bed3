"""What a filter is asked: which of a store's events stay, once the split has said which period each is in."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from towers.data.histories import Histories


@runtime_checkable  # for the tests, which check annotations at run time
class Filter(Protocol):
    """A rule that leaves events out before anything is counted."""

    def keep(self, histories: Histories, num_contents: int) -> Bool[np.ndarray, " events"]:
        """Whether each event stays.

        Args:
            histories: of all listeners; memory-mapped.
            num_contents: rows of contents.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """What it was made with, by name, as JSON values: what of it decides a store."""
        ...
