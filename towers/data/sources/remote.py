"""Objects of a store (S3, Google Cloud, Azure) as the raw data's files: where they are, and how they are opened.

All questions to a store are here and in `remote_listing` and `object_filesystem`; it goes through fsspec,
whose libraries take endpoints and credentials from the environment. Only Delta's log is read by delta-rs's own client
(`lake`). A local path never comes here, and imports none of it.
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, total_ordering
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from towers.answering import does_not_answer
from towers.errors import Unreachable, UserError
from towers.extras import how_to_install

LIBRARIES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs"}
"""Libraries that read the objects, by scheme."""
EXTRAS = {"s3fs": "s3", "gcsfs": "gs", "adlfs": "abfs"}
"""The extra of this package that installs a library."""
BUFFER_BYTES = 1 << 18
"""Least that a read fetches, since headers of pages are read in small pieces."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)")


@total_ordering
@dataclass(frozen=True, eq=False)
class RemotePath:
    """An object in a store, or the folder of all objects whose keys begin with its own; compares by its URL.

    It has no `__fspath__`, so that nothing opens it as a local file.

    Args:
        url: URL as the caller writes it, `s3://bucket/folder/file`; every character of the key stands for itself.
        filesystem: fsspec's filesystem of the store.
        own: path of the object in that filesystem.
        size: size in bytes, from the listing; null for a folder.
        version: version from the listing, which changes with every byte of the object; null for a folder.
    """

    url: str
    filesystem: Any = field(repr=False)
    own: str = field(repr=False)
    size: int | None = field(default=None, repr=False)
    version: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url}/{name}", self.filesystem, f"{self.own}/{name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.url == other.url

    def __lt__(self, other: "RemotePath") -> bool:
        return self._parts < other._parts

    def __hash__(self) -> int:
        return hash(self.url)

    @cached_property
    def _parts(self) -> tuple[str, ...]:
        """Sort key: the parts of the URL, in the order of file paths."""
        return tuple(self.url.split("/"))

    @property
    def name(self) -> str:
        """Returns the last part of the key."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """Returns the name without its extension."""
        return Path(self.name).stem

    @property
    def parent(self) -> "RemotePath":
        """Returns the folder that it is in."""
        return RemotePath(self.url.rpartition("/")[0], self.filesystem, self.own.rpartition("/")[0])

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turns what a store's library raises into an error that names the object; each library has its own classes.

        Raises:
            StoreError: the block failed in asking the store; `UnreachableStore` where it did not answer.
        """
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            kind = UnreachableStore if does_not_answer(error) else StoreError
            raise kind(f"{self}: {reason_of(error)}") from error

    def read(self, begin: int, end: int) -> bytes:
        """Returns bytes `[begin, end)` of the object, by one request.

        Raises:
            StoreError: they cannot be had.
        """
        with self.reaching():
            return self.filesystem.cat_file(self.own, start=begin, end=end)

    def open(self, on_failure: Callable[["StoreError"], object] | None = None) -> io.BufferedReader:
        """Returns the object, to be read at any place; nothing is asked for yet. Its reads raise `StoreError`.

        Args:
            on_failure: called with the error before a read raises it, for readers that would replace it by their own.
        """
        return io.BufferedReader(_Reading(self, on_failure), BUFFER_BYTES)


class _Reading(io.RawIOBase):
    """Reads an object of known size, one request a read: no more is fetched than was asked for.

    The files of fsspec's libraries ask for the size first, and read up to 50 MB ahead of every place.
    """

    def __init__(self, path: RemotePath, on_failure: Callable[["StoreError"], object] | None):
        self._path, self._place, self._on_failure = path, 0, on_failure
        self.name = path.url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = self._path.size or 0
        self._place = max(offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: size}[whence], 0)
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._place + len(view), self._path.size or 0)
        if end <= self._place:
            return 0
        try:
            found = self._path.read(self._place, end)
        except StoreError as error:
            if self._on_failure is not None:
                self._on_failure(error)
            raise
        view[: len(found)] = found
        self._place += len(found)
        return len(found)


RawPath: TypeAlias = Path | RemotePath
"""A file or folder of raw data, on a disk or in a store."""


class StoreError(UserError):
    """A store refused a request: no permission, no such object, or no answer."""


class UnreachableStore(StoreError, Unreachable):
    """A store does not answer or throttles requests; the same command may succeed later."""


def is_remote(root: str) -> bool:
    """Returns whether a place is a URL rather than a path.

    >>> is_remote("s3://bucket/plays"), is_remote("plays/s3:"), is_remote("~/plays")
    (True, False, False)
    """
    return _URL.match(root) is not None


def remote_folder(url: str) -> RemotePath:
    """Returns the folder behind a URL; nothing is asked for yet.

    Raises:
        UserError: a scheme that no library here reads, a library that is not installed, no bucket, or a password in
        the URL.
    """
    found = _URL.match(url)
    scheme, authority = found.groups() if found else ("", "")
    if ":" in authority.rpartition("@")[0]:
        raise UserError(
            f"data.root={scheme}://...@{authority.rpartition('@')[2]}: holds a password, which would stand in every "
            "manifest; leave it out and set what the store's library reads from the environment, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    library = LIBRARIES.get(scheme)
    if library is None:
        known = ", ".join(f"{name}://" for name in LIBRARIES)
        raise UserError(f"data.root={url}: {scheme}:// is not read; give a local folder, or one behind {known}")
    if not authority:
        raise UserError(f"data.root={url}: names no bucket; give {scheme}://BUCKET/FOLDER")
    if find_spec(library) is None:
        raise UserError(f"data.root={url}: takes {library}: {how_to_install(EXTRAS[library])}")
    import fsspec  # here, so that a local folder is read without it

    url = url.rstrip("/")
    folder = RemotePath(url, None, "")
    with folder.reaching():
        # Listings are not kept: in a process that lives for days the next night has more objects.
        filesystem, own = fsspec.url_to_fs(url, use_listings_cache=False)
    return RemotePath(url, filesystem, own.rstrip("/"))


def opened(path: RawPath) -> Path | io.BufferedReader:
    """Returns what pyarrow reads a raw file from: its path, or the open object."""
    return path if isinstance(path, Path) else path.open()


def bytes_of(path: RawPath) -> int:
    """Returns the size of a raw file in bytes."""
    return path.stat().st_size if isinstance(path, Path) else path.size or 0


def path_below(path: RawPath, folder: RawPath) -> Path | None:
    """Returns the path of a file from a folder that it is in; null where it is in another.

    >>> path_below(Path("plays/events/a.parquet"), Path("plays")), path_below(Path("/tmp/a"), Path("plays"))
    (PosixPath('events/a.parquet'), None)
    """
    if isinstance(path, RemotePath):
        is_in = isinstance(folder, RemotePath) and path.url.startswith(f"{folder.url}/")
        return Path(path.url[len(str(folder)) + 1 :]) if is_in else None
    return path.relative_to(folder) if isinstance(folder, Path) and path.is_relative_to(folder) else None


def reason_of(error: Exception) -> str:
    """Returns what a library of a store says went wrong, in one line.

    >>> reason_of(FileNotFoundError("no such bucket")), reason_of(KeyError())
    ('cannot be read (no such bucket)', 'cannot be read (KeyError)')
    """
    said = " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())
    return f"cannot be read ({said or type(error).__name__})"
