"""Recognises a full disk by what libraries raise, and reports its name and its free space."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from towers.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MESSAGES = re.compile(
    "|".join(
        [
            *(re.escape(os.strerror(number)) for number in FULL),
            r"\d+ requested and \d+ written",  # numpy, which keeps no number
            r"PytorchStreamWriter|inline_container\.cc.*(?:write|unexpected pos)|iostream error",  # torch
            "max_temp_directory_size",  # DuckDB, when its spill files exceed their limit
        ]
    )
)
_MOVE = "paths.stores, paths.runs, paths.exports or paths.evaluations"
"""Keys of the folders that take large results."""


class DiskFull(UserError):
    """Something could not be written because the disk is full or a quota is reached.

    Args:
        path: file or folder being written, or the folder that it belongs in.
        written_bytes: bytes of it that were written; null where unknown.
        key: key that moves it elsewhere; null: there is none.
    """

    def __init__(self, path: Path, written_bytes: int | None = None, key: str | None = _MOVE):
        self.path, self.written_bytes, self.disk = path.absolute(), written_bytes, mount_of(path)
        usage = shutil.disk_usage(self.disk)
        self._free = f"{shown(usage.free)} of {shown(usage.total)} are free"
        super().__init__(self._message(key))

    def moved_by(self, key: str | None) -> "DiskFull":
        """Returns this error with the one key that moves what was written, or with none."""
        self.args = (self._message(key),)
        return self

    def _message(self, key: str | None) -> str:
        so_far = "" if self.written_bytes is None else f", {shown(self.written_bytes)} of it were written"
        return (
            f"{self.path}: no space left on the disk {self.disk}, or no more allowed there ({self._free}{so_far}); "
            "free some, or write elsewhere" + ("" if key is None else f" with {key}=FOLDER")
        )


@contextmanager
def told_when_full(path: Path, temporary: Path) -> Iterator[None]:
    """Turns an error about a full disk into `DiskFull`, measured before temporary files are removed.

    Args:
        path: the file or folder that the block writes.
        temporary: name of it until it is complete.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFull) or not is_full(error):
            raise
        raise DiskFull(path, size_of(temporary)) from error


def is_full(error: BaseException) -> bool:
    """Returns whether an error, or one that led to it, is about a full disk, a quota, or a limit on file sizes."""
    seen: set[int] = set()
    next_error: BaseException | None = error
    while next_error is not None and id(next_error) not in seen:
        seen.add(id(next_error))
        if isinstance(next_error, DiskFull) or (isinstance(next_error, OSError) and next_error.errno in FULL):
            return True
        if not isinstance(next_error, UserError) and _MESSAGES.search(str(next_error)):
            return True
        next_error = next_error.__cause__ or next_error.__context__
    return False


def check_writable(key: str, folder: Path) -> None:
    """Writes a nameless file into a folder, or into its nearest parent that exists; nothing stays, not even after a
    kill.

    Raises:
        UserError: the folder cannot be written to; the message names `key`, which sets the folder.
    """
    nearest = folder.absolute()
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with told_when_full(folder, nearest / ".probe"), TemporaryFile(dir=nearest, buffering=0) as probe:
            probe.write(bytes(4_096))
    except OSError as error:
        raise UserError(
            f"{key}={folder}: cannot be written to ({nearest}: {error.strerror}); give another, or mend this one"
        ) from error


def mount_of(path: Path) -> Path:
    """Returns the mount point of the disk of a path, which need not exist yet."""
    folder = path.resolve()
    while not folder.is_mount() and folder != folder.parent:
        folder = folder.parent
    return folder


def size_of(path: Path) -> int:
    """Returns the bytes of a file, or of all files below a folder; 0 where there is none."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())


def shown(size_bytes: int) -> str:
    """Formats a number of bytes for people.

    >>> shown(0), shown(180_000), shown(2_500_000_000)
    ('0 kB', '180 kB', '2.5 GB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes / 1e3:.0f} kB"
