"""Random crops of spectrograms, for audio encoders that are trained."""

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
    """Draws one crop per row, float32, `num_frames` long, or as long as a record if that is shorter.

    Args:
        records: spectrograms; may be memory-mapped, as only the crops are read.
        rows: rows of the records to crop; a row may occur several times.
        num_frames: length of a crop, in frames.
        generator: source of the crops' random starts.
        part: slice of `rows` whose crops are returned. Starts are drawn for all rows, so that processes with the same
            seed can each read a slice of their own.
    """
    _, features, total = records.shape
    width = min(num_frames, total)
    starts = generator.integers(0, total - width + 1, len(rows))[part]
    crops = np.empty((len(starts), features, width), np.float32)
    for crop, row, start in zip(crops, rows[part], starts, strict=True):
        crop[:] = records[row, :, start : start + width]
    return crops
