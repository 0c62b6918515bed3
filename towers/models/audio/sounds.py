"""What an audio encoder reads, and whose it is. Knows no torch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sounds:
    """One record a sound, by the rows of a catalogue.

    Args:
        records: `[sounds, features, frames]`, log-mel spectrograms or whatever else the encoder takes; may be
            memory-mapped.
        rows: `[contents]`, row of a content's record, -1 without.
        notes: lines that the caller should read before training.
    """

    records: Float[np.ndarray, "sounds features frames"]
    rows: Int[np.ndarray, " contents"]
    notes: tuple[str, ...] = ()
