"""The objects of a store as DuckDB reads them: through fsspec, each by the name that it has in the listing."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem

from towers.data.sources.remote import RemotePath, StoreError

SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class ObjectFilesystem(AbstractFileSystem):
    """Opens objects that were listed before; asks the store for nothing but their bytes.

    DuckDB takes every path for a pattern; here each stands for itself, whatever signs are in it.

    Args:
        scheme: of the URLs.
    """

    cachable = False  # codespell:ignore cachable; each has objects of its own

    def __init__(self, scheme: str):
        super().__init__()
        self.protocol = scheme
        self._objects: dict[str, RemotePath] = {}
        self.failures: list[StoreError] = []
        """What the store failed with, in order: DuckDB turns it into an error that reads as if a file were damaged."""

    def add(self, objects: Iterable[RemotePath]) -> None:
        """Makes more objects known."""
        self._objects |= {each.url: each for each in objects}

    def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
        """The path, where it was listed."""
        return [path] if path in self._objects else []

    def exists(self, path: str, **_: Any) -> bool:
        """Whether it was listed."""
        return path in self._objects

    def isfile(self, path: str) -> bool:
        """Whether it was listed."""
        return path in self._objects

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """What the listing said."""
        return {"name": path, "size": self._objects[path].size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """The same for all: within one prepare nothing changes, and versions are compared elsewhere."""
        return SOME_TIME

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """The object, to be read."""
        return self._objects[path].open(self.failures.append)
