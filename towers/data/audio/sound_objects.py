"""Finds the sound of a content in an object store: never outside of the data set's folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from towers.data.sources.remote import RawPath, RemotePath
from towers.data.sources.remote_listing import objects_below
from towers.features.sound import UnusableSound


class SoundObjects:
    """Finds the objects that the contents' `audio` names: paths relative to a folder, or URLs inside of it.

    Args:
        root: the data set's folder.
    """

    def __init__(self, root: RemotePath):
        self._root = root
        self._listed = lru_cache(maxsize=None)(self._below)

    def find(self, audio: str) -> RemotePath:
        """Returns the object that `audio` names.

        Raises:
            UnusableSound: it leaves the folder, or is not there.
            UserError: the store refuses, or does not answer.
        """
        name = audio.removeprefix(f"{self._root.url}/")
        parts = [part for part in name.split("/") if part != "."]
        if not name.strip() or "" in parts or ".." in parts:
            raise UnusableSound(
                f"leaves the data set's folder, or is no path: {audio!r} must be a key below {self._root}"
            )
        found = self._listed(parts[0] if len(parts) > 1 else None).get("/".join(parts))
        if found is None:
            raise UnusableSound(f"no such object: {self._root}/{'/'.join(parts)}")
        return found

    def _below(self, folder: str | None) -> Mapping[str, RemotePath]:
        """Returns the objects in a folder beside the tables', or directly in the data set's, by their keys there."""
        if folder is None:
            return objects_below(self._root, max_depth=1)
        return {f"{folder}/{name}": path for name, path in objects_below(self._root / folder).items()}


@contextmanager
def on_disk(path: RawPath) -> Iterator[Path]:
    """Yields a file that decoders can open: a sound's own, or a copy of an object's bytes while the block runs.

    Raises:
        StoreError: the object cannot be had.
    """
    if isinstance(path, Path):
        yield path
        return
    with NamedTemporaryFile(prefix="towers-", suffix=Path(path.name).suffix) as copy:
        copy.write(path.read(0, path.size or 0))
        copy.flush()
        yield Path(copy.name)
