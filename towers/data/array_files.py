"""Writes and reads NumPy files piece by piece, without memory maps."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np


class ArrayFiles:
    """Writes a NumPy file for each column, from the first entry to the last. A context manager.

    It uses no memory maps: on a full disk, writing to one kills the process without a message.

    Args:
        folder: folder to write the files to.
        dtypes: dtype of each column by its name.
        total: number of entries that each column will have.
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
        """Writes the next entries of every column."""
        for name, dtype in self._dtypes.items():
            self._files[name].write(np.ascontiguousarray(columns[name], dtype).data)


class ArrayReader:
    """Reads slices of a one-dimensional NumPy file.

    It reads through the file and not through a memory map, whose pages would count as this process's own memory.

    Args:
        path: the file.
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
        """Reads entries `[start, stop)`; both must be given."""
        number = stretch.stop - stretch.start
        if not number:  # `fromfile` would take a number of 0 on an empty file for an error
            return np.zeros(0, self._dtype)
        offset = self._begin + stretch.start * self._dtype.itemsize
        return np.fromfile(self._path, self._dtype, count=number, offset=offset)
