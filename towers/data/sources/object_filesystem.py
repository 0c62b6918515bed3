"""The objects of a store as DuckDB reads them: through fsspec, each by the name that it has in the listing."""

import io
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from threading import get_native_id
from typing import Any

from fsspec import AbstractFileSystem

from towers.data.sources.remote import RemotePath, StoreError

SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class ObjectFilesystem(AbstractFileSystem):
    """Opens objects that were listed before; asks the store for nothing but their bytes.

    DuckDB takes every path for a pattern; here each is taken literally.

    Args:
        scheme: scheme of the URLs, such as `s3`.
    """

    cachable = False  # codespell:ignore cachable; each has objects of its own

    def __init__(self, scheme: str):
        super().__init__()
        self.protocol = scheme
        self._objects: dict[str, RemotePath] = {}
        self.failures: list[StoreError] = []
        """Errors of the store, in order. DuckDB turns them into errors that read as if a file were damaged."""

    def add(self, objects: Iterable[RemotePath]) -> None:
        """Makes more objects known."""
        self._objects |= {each.url: each for each in objects}

    def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
        """Returns the path alone if it was listed, else nothing."""
        return [path] if path in self._objects else []

    def exists(self, path: str, **_: Any) -> bool:
        """Says whether it was listed."""
        return path in self._objects

    def isfile(self, path: str) -> bool:
        """Says whether it was listed."""
        return path in self._objects

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Returns path and size from the listing."""
        return {"name": path, "size": self._objects[path].size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """Returns the same time for all objects, as none changes within one prepare; versions are compared
        elsewhere."""
        return SOME_TIME

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """Opens the object for reading."""
        return _OfThreads(lambda: self._objects[path].open(self.failures.append))


class _OfThreads:
    """A file that every thread reads from a place of its own.

    DuckDB's threads share a file, seek and read in two calls, and may take turns between these. They are known by the
    system's number of the thread: to Python one of DuckDB's is a new thread at each call.

    Args:
        opened: opens the file.
    """

    def __init__(self, opened: Callable[[], io.BufferedReader]):
        self._opened = opened
        self._files: dict[int, io.BufferedReader] = {}

    @property
    def _own(self) -> io.BufferedReader:
        thread = get_native_id()
        if thread not in self._files:
            self._files[thread] = self._opened()
        return self._files[thread]

    def read(self, size: int = -1) -> bytes:
        """See `io`."""
        return self._own.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io`."""
        return self._own.seek(offset, whence)

    def tell(self) -> int:
        """See `io`."""
        return self._own.tell()

    def close(self) -> None:
        """See `io`."""
        for file in self._files.values():
            file.close()
        self._files = {}
