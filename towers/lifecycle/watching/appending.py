"""Appending to a file that several processes write to: lines are never mixed, and no process waits long for another."""

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from towers.disk import check_writable
from towers.errors import UserError

_APPENDS: Final = os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags to open a file with: a named pipe without a reader is an error (ENXIO), where opening would otherwise wait."""

WAITED_S: Final = 1.0
"""Seconds to wait for another process's line."""


def check_appendable(key: str, path: Path) -> None:
    """Checks that lines can be appended to a file, which need not exist yet; changes nothing. The folder of an existing
    file need not be writable.

    Args:
        key: key of the configuration that names the file, for the message.
        path: path of the file.

    Raises:
        UserError: lines cannot be appended.
    """
    told = f"{key}={path}"
    if path.is_dir():
        raise UserError(f"{told}: is a folder; give a file in it")
    target = path.resolve() if path.is_symlink() else path
    if not target.parent.is_dir():
        raise UserError(f"{told}: no folder {target.parent}; make it, or give another")
    if not path.exists():
        check_writable(key, target.parent)
        return
    try:
        os.close(os.open(path, _APPENDS))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise UserError(f"{told}: a pipe without a reader; start the reader, or give a file") from error
        raise UserError(f"{told}: cannot be written to ({error.strerror}); give another, or mend this one") from error


def append_line(path: Path, line: str) -> None:
    """Appends a line by one write, so that lines of several processes are not mixed. The file is opened anew, so that
    one that was moved away is created again. After a line cut short by any process, it begins on a line of its own.

    Args:
        path: path of the file.
        line: line without its newline.

    Raises:
        OSError: it was not written, or only in part.
    """
    file = os.open(path, _APPENDS | os.O_CREAT, 0o644)
    try:
        _wait_for_others(file)
        data = b"\n" * _ends_within_line(path, file) + line.encode() + b"\n"
        if os.write(file, data) < len(data):
            raise OSError(f"{path}: a line was cut; is the disk full, or the reader too slow?")
    finally:
        os.close(file)


def _wait_for_others(file: int) -> None:
    """Waits until no other process is writing a line, which would look like a line cut short; not for ever, as a halted
    process would block all others. Closing the file releases the lock."""
    until = time.monotonic() + WAITED_S
    with suppress(OSError):  # a disk without locks
        while time.monotonic() < until:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(0.001)


def _ends_within_line(path: Path, file: int) -> bool:
    """Returns whether a file's last line lacks its newline; false where that cannot be read."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        return False
    with suppress(OSError), path.open("rb") as readable:
        return os.pread(readable.fileno(), 1, found.st_size - 1) not in (b"\n", b"")
    return False
