"""Fingerprints of inputs, and writes that are whole or absent. Knows nothing of models or tables."""

import fcntl
import hashlib
import json
import math
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from towers.disk import told_when_full
from towers.errors import UserError
from towers.extras import code_version

LIBRARIES = (
    "numpy", "pyarrow", "faiss-cpu", "onnxruntime", "hydra-core",
    "torch", "torchaudio", "pytorch-lightning", "duckdb", "onnx", "scipy", "scikit-learn", "implicit",
)  # fmt: skip


def digest_of(value: Any) -> str:
    """Returns the SHA-256, in hex, of a JSON-like value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileDigests:
    """Digests of many files, remembered beside the result by path, size and modification time.

    A nightly run over a large folder of audio then reads only new files.

    Args:
        memory: JSON file, read if it exists and written by `save`.
        others: further such files, which are only read.
    """

    def __init__(self, memory: Path, *others: Path):
        self._memory = memory
        self._known: dict[str, list[Any]] = {}
        for path in (*others, memory):
            if path.exists():
                self._known |= json.loads(path.read_text())

    def of(self, paths: Iterable[Path], root: Path) -> dict[str, str]:
        """Returns the digest of every file of `paths` (all below `root`), by path relative to `root`."""
        digests = {}
        for path in sorted(paths):
            name, stat = str(path.relative_to(root)), path.stat()
            state = [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
            known = self._known.get(name)
            digest = known[-1] if known and known[:-1] == state else digest_of_file(path)
            self._known[name] = [*state, digest]
            digests[name] = digest
        return digests

    def save(self) -> None:
        """Writes the remembered digests for the next run."""
        write_json(self._memory, self._known)


def library_versions() -> dict[str, str]:
    """Returns the versions of the libraries that can change a result; libraries that are not installed are left out.

    Keys of cached results contain these, but not the version of this code, which every commit changes.
    """
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions


def code_versions() -> dict[str, str]:
    """The version of this code, as `towers`, and those of the libraries: what a manifest names."""
    return {"towers": code_version(), **library_versions()}


def environment() -> dict[str, Any]:
    """Returns what a result was made with beside its inputs: libraries, interpreter, machine, device."""
    facts: dict[str, Any] = {
        "libraries": code_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }
    torch = sys.modules.get("torch")  # not imported here: serving runs without torch
    if torch is not None:
        facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return facts


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def json_numbers(value: Any) -> Any:
    """Returns a nested value as JSON can hold it: a number that is not finite becomes null, a tuple a list.

    >>> json_numbers({"regret": (0.5, float("nan"))})
    {'regret': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): json_numbers(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_numbers(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: the file is missing or not JSON.
    """
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); restore the file or make it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: not a JSON object; restore the file or make it again")
    return found


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path that is renamed to `path` when the block succeeds, and removed when it fails.

    What a killed process left behind under the same name is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with told_when_full(path, temporary):
            yield temporary
            _flush(temporary)  # a crash of the machine leaves the old file or the new one
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path` that is gone when the block ends.

    Folders that a killed process left behind under the same name are removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with told_when_full(path, temporary):
            temporary.mkdir()
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields a temporary folder that is renamed to `path` when the block succeeds, once all that is in it is on the
    disk: a crash of the machine leaves no folder of that name with half a file.

    When `path` exists by then (another process was quicker with the same content-addressed result), that one stays.
    """
    with scratch_directory(path) as temporary:
        yield temporary
        flush_folder(temporary)
        try:
            temporary.replace(path)
        except OSError:
            if not path.is_dir():
                raise


def flush_folder(folder: Path) -> None:
    """Waits until a folder and all that is in it are on the disk, before it is renamed to its final name."""
    for inner, _, names in os.walk(folder):
        for name in names:
            if not (Path(inner) / name).is_symlink():
                _flush(Path(inner) / name)
        _flush(Path(inner))


def _flush(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def alone(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock while the block runs; the lock of a killed process is free.

    Args:
        lock: lock file, created if it is missing and never removed.
        waiting: called once if another process holds the lock; unless it raises, the block waits.
    """
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def point_to(link: Path, target: Path) -> None:
    """Makes the symbolic link `link` point to its sibling `target`, atomically."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}.partial")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target.name, target_is_directory=True)
    temporary.replace(link)


def same_file(source: Path, target: Path) -> None:
    """Puts an unchanged file into a new version: as a hard link, or as a copy where that is impossible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


_PARTIAL = re.compile(r"\.(.+)\.(\d+)\.partial")
"""Temporary name of a file or folder: the name that it gets in the end, and the process that writes it."""


def writer_of(name: str) -> int | None:
    """Returns the process that writes under this temporary name; null for any other name.

    >>> writer_of(".store.4321.partial"), writer_of("store")
    (4321, None)
    """
    found = _PARTIAL.fullmatch(name)
    return int(found[2]) if found else None


def _remove_stale(path: Path) -> None:
    """Removes the temporary files and folders for `path` whose process has ended, and those of this process."""
    for stale in path.parent.iterdir():
        found = _PARTIAL.fullmatch(stale.name)
        if found and found[1] == path.name and (int(found[2]) == os.getpid() or not is_alive(int(found[2]))):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Returns whether a process runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
