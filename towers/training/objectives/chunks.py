"""Chunks of a matrix of logits, targets x candidates, of which at most 2^26 entries exist at a time."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

ENTRIES_IN_CACHE = 1 << 20
"""Logits of a tile on a CPU: 4 MB in float32, about the cache of one core."""
ENTRIES_KEPT = 1 << 26
"""Maximum number of exponentials of a block: 256 MB in float32."""
MIN_ROWS = 128
"""Targets of a block where memory allows; with fewer, the products wait for contents to be read from memory."""


def room_for(rows: int, tiles: Iterable[int]) -> int:
    """Returns the number of entries that tiles of these widths take, each with a spare column after it."""
    return rows * sum(_stride(width) for width in tiles)


def tile_in(room: Float[Tensor, " entries"], rows: int, width: int) -> Float[Tensor, "rows columns_and_spare"]:
    """Returns the tile at the start of `room`, with the spare column, which takes the writes to be discarded."""
    stride = _stride(width)
    return room[: rows * stride].view(rows, stride)[:, : width + 1]


def exclude(
    tile: Float[Tensor, "rows columns_and_spare"], columns: slice, excluded: Int[Tensor, "rows excluded"], total: int
) -> None:
    """Sets the logits of `excluded` candidates in the tile of `columns` to -inf; `total`, their number, excludes none.

    Indices in other tiles are written to the spare column, which needs no mask and no wait for the device.
    """
    width = columns.stop - columns.start
    if width < total:
        is_here = (excluded >= columns.start) & (excluded < columns.stop)
        excluded = (excluded - columns.start).where(is_here, width)
    tile.scatter_(1, excluded, -torch.inf)


def _stride(width: int) -> int:
    """Returns the row stride of a tile, so that rows begin at a multiple of 64 bytes."""
    return (width // 16 + 1) * 16


def slices(total: int, size: int) -> Iterator[slice]:
    """Yields contiguous slices of `size`; the last may be shorter."""
    for first in range(0, total, max(size, 1)):
        yield slice(first, min(first + size, total))


def chunk_shape(targets: int, candidates: int, is_cuda: bool) -> tuple[int, int]:
    """Returns rows and columns of a chunk of logits: large enough for fast products, and small enough for the cache."""
    most = max(ENTRIES_KEPT // max(candidates, 1), 1)
    if is_cuda:
        return min(targets, most), candidates
    rows = min(max(ENTRIES_IN_CACHE // max(candidates, 1), MIN_ROWS), most, max(targets, 1))
    return rows, max(ENTRIES_IN_CACHE // rows, 1)
