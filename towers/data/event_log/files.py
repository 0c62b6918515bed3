"""The event log on disk: flat columns that are read and written in stretches of listeners, never mapped as a whole."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Int

from towers.data.blocks import blocks
from towers.data.event_log.block import LOG_COLUMNS, LogBlock
from towers.features.ragged import Ragged

OFFSETS, SESSION_OFFSETS, SESSION_KEYS = "offsets", "session_offsets", "session_keys"


class LogFiles:
    """Reads the columns of an event log.

    Reads go through the file and not through a memory map, whose pages would count as this process's own memory.

    Args:
        folder: folder of the columns; one that does not exist counts as a log without events.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        is_there = (folder / f"{OFFSETS}.npy").exists()
        none = np.zeros(1, dtype=np.int64)
        self.offsets: np.ndarray = np.load(folder / f"{OFFSETS}.npy") if is_there else none
        self._session_offsets = np.load(folder / f"{SESSION_OFFSETS}.npy") if is_there else none

    @property
    def num_users(self) -> int:
        """The number of listeners, those without an event included."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int[np.ndarray, " listeners"]:
        """`[listeners]`: the number of events of each listener."""
        return np.diff(self.offsets)

    def block(self, begin: int, end: int) -> LogBlock:
        """Reads the events of listeners `[begin, end)`; listeners beyond the last have none."""
        offsets = _stretch(self.offsets, begin, end)
        of_sessions = _stretch(self._session_offsets, begin, end)
        columns = {name: self._read(name, dtype, offsets) for name, dtype in LOG_COLUMNS.items()}
        keys = self._read(SESSION_KEYS, np.uint64, of_sessions)
        return LogBlock(
            offsets=offsets - offsets[0], columns=columns, sessions=Ragged(of_sessions - of_sessions[0], keys)
        )

    def blocks(self) -> Iterator[tuple[int, LogBlock]]:
        """Yields the whole log in blocks, each with the number of its first listener."""
        for each in blocks(self.offsets):
            yield each.users.start, self.block(each.users.start, each.users.stop)

    def _read(self, name: str, dtype: type[np.generic], offsets: Int[np.ndarray, " some"]) -> np.ndarray:
        first, number = int(offsets[0]), int(offsets[-1] - offsets[0])
        if not number:
            return np.zeros(0, dtype=dtype)
        return np.fromfile(self._folder / f"{name}.bin", dtype, count=number, offset=first * np.dtype(dtype).itemsize)


class LogWriter:
    """Writes the columns of a log, block after block. A context manager.

    Args:
        folder: folder to write the columns to; it is created.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True)
        self._folder, self._stack = folder, ExitStack()
        names = (*LOG_COLUMNS, SESSION_KEYS)
        self._files = {name: self._stack.enter_context((folder / f"{name}.bin").open("wb")) for name in names}
        self._lengths: list[np.ndarray] = []
        self._sessions: list[np.ndarray] = []

    def __enter__(self) -> "LogWriter":
        return self

    def append(self, block: LogBlock) -> None:
        """Writes the next listeners."""
        for name, dtype in LOG_COLUMNS.items():
            self._files[name].write(np.ascontiguousarray(block.columns[name], dtype).data)
        self._files[SESSION_KEYS].write(np.ascontiguousarray(block.sessions.values, np.uint64).data)
        self._lengths.append(np.diff(block.offsets))
        self._sessions.append(block.sessions.lengths)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if kind is None:
            np.save(self._folder / f"{OFFSETS}.npy", offsets_of(self._lengths))
            np.save(self._folder / f"{SESSION_OFFSETS}.npy", offsets_of(self._sessions))


def lengthened(folder: Path, num_users: int) -> None:
    """Appends listeners without an event to the columns of a log.

    Args:
        folder: folder of the columns. Its files may be hard links shared with another folder, so changed files are
            written anew.
        num_users: number of listeners afterwards.
    """
    for path in (folder / f"{OFFSETS}.npy", folder / f"{SESSION_OFFSETS}.npy"):
        offsets = np.load(path)
        path.unlink()
        np.save(path, _stretch(offsets, 0, num_users))


def _stretch(offsets: Int[np.ndarray, " all"], begin: int, end: int) -> Int[np.ndarray, " some"]:
    """Returns the offsets of listeners `[begin, end)`; beyond the last listener the last offset repeats."""
    found = offsets[begin : end + 1]
    return np.concatenate([found, np.full(end - begin + 1 - len(found), offsets[-1], dtype=np.int64)])


def offsets_of(lengths: list[np.ndarray]) -> Int[np.ndarray, " all"]:
    """Turns lengths of lists, given in several arrays, into the offset of each list and the end of the last."""
    return np.concatenate([[0], np.cumsum(np.concatenate([[], *lengths]))]).astype(np.int64)
