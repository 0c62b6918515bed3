"""Random crops of spectrograms, for every audio encoder that learns."""

import numpy as np
from jaxtyping import Float, Int

from towers.features.sounds import Records


def random_crops(
    records: Records,
    rows: Int[np.ndarray, " drawn"],
    num_frames: int,
    generator: np.random.Generator,
    part: slice = slice(None),
) -> Float[np.ndarray, "own features crop"]:
    """Draws a crop of each record, float32, of `num_frames` or of all that a record has.

    Args:
        records: may be memory-mapped; only the crops are read.
        rows: of the records to crop; a record may stand several times.
        num_frames: of a crop.
        generator: draws where each crop starts.
        part: of `rows`, whose crops are wanted. Starts are drawn for all rows, so processes that share a seed may each
            read a part of their own.
    """
    _, features, total = records.shape
    width = min(num_frames, total)
    starts = generator.integers(0, total - width + 1, len(rows))[part]
    crops = np.empty((len(starts), features, width), np.float32)
    for crop, row, start in zip(crops, rows[part], starts, strict=True):
        crop[:] = records[row, :, start : start + width]
    return crops
