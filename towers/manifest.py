"""Fingerprints of what was read, and writes that are whole or absent. Knows nothing of models or tables."""

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
    """Sha256, in hex, of a JSON-like value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileDigests:
    """Digests of many files, remembered beside the result by path, size and time of change.

    A nightly run over a large folder of audio then reads only what is new.

    Args:
        memory: a JSON file, read where it is there and written by `save`.
        others: more such files, read alone.
    """

    def __init__(self, memory: Path, *others: Path):
        self._memory = memory
        self._known: dict[str, list[Any]] = {}
        for path in (*others, memory):
            if path.exists():
                self._known |= json.loads(path.read_text())

    def of(self, paths: Iterable[Path], root: Path) -> dict[str, str]:
        """Relative path -> digest, for every file of `paths` (all below `root`)."""
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
        """Writes the memory for the next run."""
        write_json(self._memory, self._known)


def library_versions() -> dict[str, str]:
    """The versions of libraries that can change a result; what is not installed is left out.

    Keys of what is kept between runs are made of these, without the version of this code, which every commit changes.
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
    """What a result was made with, beside its inputs: libraries, interpreter, machine, device."""
    facts: dict[str, Any] = {
        "libraries": code_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }
    torch = sys.modules.get("torch")  # not imported here: serving has none
    if torch is not None:
        facts["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return facts


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes `value` readably, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def json_numbers(value: Any) -> Any:
    """A nested value as JSON can hold it: a number that is not finite becomes null, a tuple a list.

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
    """Yields a temporary path that becomes `path` when the block ends well, and goes when it does not.

    What a killed process left behind under the same name is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with told_when_full(path, temporary):
            yield temporary
            _flush(temporary)  # a machine that is lost leaves the file before or the new one
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
    """Yields a temporary folder that becomes `path` when the block ends well, with all that is in it on the disk: a
    machine that is lost leaves no folder of that name with half a file.

    When `path` exists already by the end (another process was quicker with the same content-addressed result),
    that one stays.
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
    """Waits until a folder and all that is in it is on the disk, before it gets the name by which it is taken for
    whole."""
    for inner, _, names in os.walk(folder):
        for name in names:
            if not (Path(inner) / name).is_symlink():
                _flush(Path(inner) / name)
        _flush(Path(inner))


def _flush(path: Path) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def alone(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock while the block runs; the lock of a process that was killed is free.

    Args:
        lock: a file, made where it is not there; it stays, whoever holds it.
        waiting: called once where another process holds the lock; the block waits unless this raises.
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
"""The name of what is being written: what it is to be called, and the process that writes it."""


def writer_of(name: str) -> int | None:
    """The process that writes what bears this name for the time being; null for any other name.

    >>> writer_of(".store.4321.partial"), writer_of("store")
    (4321, None)
    """
    found = _PARTIAL.fullmatch(name)
    return int(found[2]) if found else None


def _remove_stale(path: Path) -> None:
    """Removes the temporary files and folders for `path` whose process is gone, and those of this process."""
    for stale in path.parent.iterdir():
        found = _PARTIAL.fullmatch(stale.name)
        if found and found[1] == path.name and (int(found[2]) == os.getpid() or not is_alive(int(found[2]))):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
