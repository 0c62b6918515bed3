"""Inputs of the audio encoder and the contents to which they belong; imports no torch."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int


@runtime_checkable  # for the tests, which check annotations at run time
class Records(Protocol):
    """Array-like of `[sounds, features, frames]`; all records have the same number of frames."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of sounds, features and frames."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> np.ndarray: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sounds:
    """Inputs of the audio encoder for a catalogue, one record per sound.

    Args:
        records: log-mel spectrograms, or other input of the encoder; may be memory-mapped.
        rows: `[contents]`, row of each content's record; -1 without sound.
        notes: warnings to show before training.
    """

    records: Records
    rows: Int[np.ndarray, " contents"]
    notes: tuple[str, ...] = ()
