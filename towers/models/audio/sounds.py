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

    def crops(
        self, content_rows: Int[np.ndarray, " sounds"], frames: int, generator: np.random.Generator
    ) -> Float[np.ndarray, "sounds features crop"]:
        """A random crop of each content's record, float32, of `frames` or of all that there are."""
        _, features, total = self.records.shape
        width = min(frames, total)
        starts = generator.integers(0, total - width + 1, len(content_rows))
        crops = np.empty((len(content_rows), features, width), np.float32)
        for crop, row, start in zip(crops, self.rows[content_rows], starts, strict=True):
            crop[:] = self.records[row, :, start : start + width]
        return crops
