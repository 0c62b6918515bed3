"""NumPy files that are written and read piece by piece, and never mapped as a whole."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np


class ArrayFiles:
    """NumPy files of columns, being written from their first entry to their last. A context manager.

    Not through memory maps: a disk that is full ends a process that writes to one, without a word.

    Args:
        folder: of the files.
        dtypes: of the columns, by name.
        total: entries that each will have.
    """

    def __init__(self, folder: Path, dtypes: Mapping[str, Any], total: int):
        self._dtypes, self._stack = dtypes, ExitStack()
        self._files = {name: self._stack.enter_context((folder / f"{name}.npy").open("wb")) for name in dtypes}
        for name, dtype in dtypes.items():
            described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (total,)}
            np.lib.format.write_array_header_1_0(self._files[name], described)

    def __enter__(self) -> "ArrayFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def append(self, columns: Mapping[str, np.ndarray]) -> None:
        """The next entries of every column."""
        for name, dtype in self._dtypes.items():
            self._files[name].write(np.ascontiguousarray(columns[name], dtype).data)


class ArrayReader:
    """Reads stretches of a NumPy file of one dimension.

    Through the file and not through a memory map, whose pages would count as this process's own memory.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self._path = path
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, self._dtype = np.lib.format.read_array_header_1_0(file)
            self._begin = file.tell()
        self._length = int(shape[0])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, stretch: slice) -> np.ndarray:
        """Entries `[start, stop)`, both given."""
        number = stretch.stop - stretch.start
        if not number:  # `fromfile` would take a number of 0 on an empty file for an error
            return np.zeros(0, self._dtype)
        offset = self._begin + stretch.start * self._dtype.itemsize
        return np.fromfile(self._path, self._dtype, count=number, offset=offset)
