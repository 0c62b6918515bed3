"""Work that is disturbed: in a process of its own that is killed, or in which a call of the file system fails; on
copies of a folder that cost nothing, and compared with undisturbed work."""

import builtins
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

CALLS = ("replace", "rename", "link", "symlink", "unlink", "mkdir", "rmdir", "truncate", "fsync")
"""Functions of `os` that change a file system; opening to write is watched beside them. What libraries in C++ write
(tables, tensors, indices) is not seen here: a full disk and kills at any moment try that."""
MADE_SECOND = ("link", "symlink")
"""Functions whose second argument is what they make."""
KILLED = 137
"""Exit code of a process that ends in the middle of a call, as shells tell a SIGKILL."""
LINKED_FROM = 1 << 20
"""Bytes; larger files of a state are arrays and tables, which are written once, so that a copy may link to them."""


def started(work: Callable[[], int | None], told: Path) -> int:
    """Starts work in a process of its own, which ends with the code that it returns, 0 for null, 1 after an error.

    Args:
        work: done in it.
        told: file for what it prints.

    Returns:
        The process.
    """
    process = os.fork()
    if process == 0:
        code = 1
        try:
            file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w", closefd=False)) for number in (1, 2))
            code = work() or 0
        except BaseException:  # told here, as the process ends below without a word
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return process


def ended(process: int) -> int:
    """Waits for a process; returns its exit code, or minus the signal that it died of."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_after(process: int, seconds: float) -> bool:
    """Kills a process (SIGKILL) after so many seconds, and says whether it was still running."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(min(left, 0.005))
    os.kill(process, signal.SIGKILL)
    return ended(process) == -signal.SIGKILL


def copied(folder: Path, target: Path, *left_out: str, largest: int = LINKED_FROM) -> None:
    """Copies a folder in the place of another; large files as links, as they are never written to again.

    Args:
        folder: that is copied.
        target: that is replaced.
        left_out: names, or patterns of them.
        largest: size of a file that is copied, in bytes.
    """

    def copy(source: str, path: str) -> None:
        if os.lstat(source).st_size > largest:
            os.link(source, path)
        else:
            shutil.copy2(source, path, follow_symlinks=False)

    shutil.rmtree(target, ignore_errors=True)
    ignored = shutil.ignore_patterns(*left_out)
    shutil.copytree(folder, target, symlinks=True, copy_function=copy, ignore=ignored)


def files_of(folder: Path) -> dict[str, bytes]:
    """Reads the bytes of every file in a folder; of a link, where it points to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = bytes(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def different(ours: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> list[str]:
    """Returns the names of files that are not in both with the same bytes."""
    return [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]


@contextmanager
def watched(folder: Path, reached: Callable[[int, str, Path], None]) -> Iterator[None]:
    """Calls `reached` before each call that changes the file system below a folder, with its number from 0, the
    function's name and the path; what it raises is what the call raises."""
    number, root = 0, str(folder)

    def watching(name: str, call: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            nonlocal number
            path = (*arguments, *named.values())[1 if name in MADE_SECOND else 0]
            where = _path_of(path, named.get("dir_fd"))
            if where.startswith(root) and changes(*arguments, **named):
                number += 1
                reached(number - 1, name, Path(where))
            return call(*arguments, **named)

        return called

    with ExitStack() as patches:
        for name in CALLS:
            watcher = watching(name, getattr(os, name), lambda *_, **__: True)
            patches.enter_context(patch.object(os, name, watcher))
        opening = watching("open", io.open, _opens_to_write)
        patches.enter_context(patch.object(builtins, "open", opening))
        patches.enter_context(patch.object(io, "open", opening))
        patches.enter_context(patch.object(os, "open", watching("open", os.open, _creates)))
        yield


def failing(number: int, fault: str) -> Callable[[int, str, Path], None]:
    """Arguments of `watched` with which a call fails: the process ends at once (`exit`), or the call finds no space
    (`ENOSPC`) or a broken disk (`EIO`)."""

    def reached(at: int, _: str, path: Path) -> None:
        if at != number:
            return
        if fault == "exit":
            os._exit(KILLED)
        code = getattr(errno, fault)
        raise OSError(code, os.strerror(code), str(path))

    return reached


def _path_of(path: Any, dir_fd: int | None) -> str:
    """The absolute path of what a call is given: a path, or the number of an open file."""
    if isinstance(path, int):
        return str(Path(f"/proc/self/fd/{path}").readlink())
    within = Path() if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink()
    return str((within / os.fsdecode(path)).absolute())


def _opens_to_write(file: Any, mode: str = "r", *_: Any, **__: Any) -> bool:
    return not isinstance(file, int) and any(letter in mode for letter in "wax+")


def _creates(_: Any, flags: int, *__: Any, **___: Any) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """Mounts a disk of so many bytes, held in memory, over an empty folder; yields what gives it another size.

    Raises:
        CalledProcessError: mounting is not allowed here.
    """
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)

    def resized(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)

    try:
        yield resized
    finally:
        subprocess.run(["umount", folder], check=True)
