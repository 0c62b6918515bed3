"""What an audio encoder reads, and whose it is. Knows no torch."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int


@runtime_checkable  # for the tests, which check annotations at run time
class Records(Protocol):
    """`[sounds, features, frames]`, all of as many frames: an array, or what is read like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sounds, features and frames."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> np.ndarray: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sounds:
    """One record a sound, by the rows of a catalogue.

    Args:
        records: log-mel spectrograms or whatever else the encoder takes; may be memory-mapped.
        rows: `[contents]`, row of a content's record, -1 without.
        notes: lines that the caller should read before training.
    """

    records: Records
    rows: Int[np.ndarray, " contents"]
    notes: tuple[str, ...] = ()
