"""Pieces of a matrix of logits, targets x candidates, of which 2^26 entries at most are there at a time."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

ENTRIES_IN_CACHE = 1 << 20
"""Logits of a tile on a processor: 4 MB in float32, about what its caches hold for a core."""
ENTRIES_KEPT = 1 << 26
"""Exponentials of a block, at most: 256 MB in float32."""
MIN_ROWS = 128
"""Targets of a block where memory allows: fewer, and the products wait for the contents to come from memory."""


def room_for(rows: int, tiles: Iterable[int]) -> int:
    """Entries that tiles of such widths take, each with a spare column behind it."""
    return rows * sum(_stride(width) for width in tiles)


def tile_in(room: Float[Tensor, " entries"], rows: int, width: int) -> Float[Tensor, "rows columns_and_spare"]:
    """The tile at the start of `room`, with the spare column, into which goes what is not to be written."""
    stride = _stride(width)
    return room[: rows * stride].view(rows, stride)[:, : width + 1]


def exclude(
    tile: Float[Tensor, "rows columns_and_spare"], columns: slice, excluded: Int[Tensor, "rows excluded"], total: int
) -> None:
    """-inf for the logits of `excluded` candidates in the tile of `columns`; `total`, their number, stands for none.

    What stands in another tile goes into the spare column: no mask, no wait for a device.
    """
    width = columns.stop - columns.start
    if width < total:
        is_here = (excluded >= columns.start) & (excluded < columns.stop)
        excluded = (excluded - columns.start).where(is_here, width)
    tile.scatter_(1, excluded, -torch.inf)


def _stride(width: int) -> int:
    """Rows begin at a multiple of 64 bytes."""
    return (width // 16 + 1) * 16


def slices(total: int, size: int) -> Iterator[slice]:
    """Neighbours, `size` at a time; the last may be fewer."""
    for first in range(0, total, max(size, 1)):
        yield slice(first, min(first + size, total))


def chunk_shape(targets: int, candidates: int, is_cuda: bool) -> tuple[int, int]:
    """Rows and columns of a chunk of logits: both so large that the products run at full speed, and in the cache."""
    most = max(ENTRIES_KEPT // max(candidates, 1), 1)
    if is_cuda:
        return min(targets, most), candidates
    rows = min(max(ENTRIES_IN_CACHE // max(candidates, 1), MIN_ROWS), most, max(targets, 1))
    return rows, max(ENTRIES_IN_CACHE // rows, 1)
