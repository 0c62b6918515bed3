"""Interface of an audio file that is being decoded, the same for all decoders."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

UNKNOWN_FRAMES = 1 << 48
"""Lengths from this number on are unknown: libsndfile reports a larger one if the header leaves the length open."""


class UndecodableSound(Exception):
    """A file that no installed decoder can read."""


@runtime_checkable  # for the tests, which check annotations at run time
class Recording(Protocol):
    """An audio file that is being decoded."""

    rate: int
    """Sample rate in Hz."""
    frames: int
    """Expected number of samples per channel; `UNKNOWN_FRAMES` or more if it is unknown."""
    stated: int | None
    """Number of samples per channel that the file's own header states, if it may differ from `frames`; else null."""
    is_cut: bool
    """True if the end is known to be missing, or to be a separate stream."""

    def read(self, start: int, count: int) -> Float[np.ndarray, "samples channels"]:
        """Reads `count` frames from `start` on, or fewer at the end. Raises the decoder's own exceptions."""
        ...
