"""Memory-mapped file of an index's inverted lists, so that all processes that read them share one copy.

FAISS can map plain lists, but reads the blocks of its fast scan into private memory. In this file each list has its
codes in complete blocks, followed by their rows. That is the layout of `OnDiskInvertedLists`, so a scan reads the same
bytes.
"""

from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Int

from towers.errors import UserError
from towers.retrieval.files import INDEX_CODES, INDEX_SIZES, reading

BLOCK = 32
"""Number of codes in a block of the fast scan; lists are padded to complete blocks."""

ROW_BYTES = 8  # size of a 64-bit integer


def write_cells(index: faiss.IndexIVFPQFastScan, folder: Path) -> None:
    """Writes the lists of `index` to `folder` and removes them from it; the index stays trained."""
    lists: faiss.InvertedLists = index.invlists  # pyright: ignore
    sizes = np.array([lists.list_size(cell) for cell in range(index.nlist)], np.int64)
    with (folder / INDEX_CODES).open("wb") as file:
        for cell in np.flatnonzero(sizes):
            size, capacity = int(sizes[cell]), int(_capacities(sizes[cell : cell + 1])[0])
            codes = faiss.rev_swig_ptr(lists.get_codes(int(cell)), capacity * index.code_size)
            rows = faiss.rev_swig_ptr(lists.get_ids(int(cell)), size)
            file.write(codes.tobytes())
            file.write(np.pad(rows, (0, capacity - size)).tobytes())
    np.save(folder / INDEX_SIZES, sizes)
    index.reset()


def map_cells(index: faiss.IndexIVFPQFastScan, folder: Path) -> None:
    """Attaches the lists that `write_cells` wrote into `folder` to `index`.

    Raises:
        UserError: a file is missing, or its size does not fit the lists.
    """
    with reading(folder / INDEX_SIZES) as path:
        sizes = np.load(path)
    capacities = _capacities(sizes)
    ends = np.cumsum(capacities * (index.code_size + ROW_BYTES))
    with reading(folder / INDEX_CODES) as path:
        if len(sizes) != index.nlist or (sizes < 0).any() or path.stat().st_size != ends[-1]:
            raise UserError(f"{path}: {path.stat().st_size:,} bytes do not fit {INDEX_SIZES}; copy the export again")
    lists = faiss.OnDiskInvertedLists()
    lists.nlist, lists.code_size = index.nlist, index.code_size
    lists.filename, lists.totsize, lists.read_only = str(path), int(ends[-1]), True
    lists.prefetch_nthread = 0  # otherwise FAISS starts 32 threads for each query
    lists.lists.clear()
    for size, capacity, end in zip(sizes.tolist(), capacities.tolist(), ends.tolist(), strict=True):
        place = faiss.OnDiskOneList()
        place.size, place.capacity, place.offset = size, capacity, end - capacity * (index.code_size + ROW_BYTES)
        lists.lists.push_back(place)  # pyright: ignore
    lists.do_mmap()
    index.replace_invlists(lists, True)  # the index owns them from now on
    lists.this.disown()  # pyright: ignore
    index.ntotal = int(sizes.sum())


def _capacities(sizes: Int[np.ndarray, " cells"]) -> Int[np.ndarray, " cells"]:
    return -(-sizes // BLOCK) * BLOCK
