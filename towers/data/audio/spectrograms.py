"""The spectrograms of a catalogue, read: one fixed-size record a content, memory-mapped. Knows no torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float16

RECORDS, ROWS, FRONT = "records.npy", "rows.parquet", "front_end.json"
REJECTED, ALTERED = "rejected.parquet", "altered.parquet"
"""Sounds without a record, and sounds whose record is not the whole of them or not their mix; each with its reason."""
FRONT_END = 2
"""Counts up whenever the same sound and settings give another record than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrograms:
    """Log-mel records, and the row of each content's record.

    Args:
        records: `[sounds, n_mels, frames]`, float16, memory-mapped.
        row_of: content id -> row of `records`.
    """

    records: Float16[np.ndarray, "sounds n_mels frames"]
    row_of: dict[str, int]

    @classmethod
    def open(cls, folder: Path) -> "Spectrograms":
        """Opens the set of spectrograms that `make` wrote."""
        ids = pq.read_table(folder / ROWS)["content_id"].to_pylist()
        records = np.load(folder / RECORDS, mmap_mode="r" if ids else None)  # an empty file cannot be mapped
        return cls(records=records, row_of={content_id: row for row, content_id in enumerate(ids)})
