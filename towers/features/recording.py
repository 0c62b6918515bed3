"""A file of sound that is being decoded, whatever decodes it."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

UNKNOWN_FRAMES = 1 << 48
"""What libsndfile gives where a header leaves the length open is more."""


class UndecodableSound(Exception):
    """A file that no decoder at hand knows."""


@runtime_checkable  # for the tests, which check annotations at run time
class Recording(Protocol):
    """A file that is being decoded."""

    rate: int
    """In Hz."""
    frames: int
    """Samples a channel that it should have."""
    stated: int | None
    """Those that its own header promises, where that is known to be wrong."""
    is_cut: bool
    """Whether its end is known to be missing, or to be a stream by itself."""

    def read(self, start: int, count: int) -> Float[np.ndarray, "samples channels"]:
        """So many frames from `start` on, or what there is of them. Raises whatever the decoder raises."""
        ...
