"""Base of the sinks of all engines: the engine is opened for each step, and `Filling` does the steps in order."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from towers.disk import check_writable
from towers.errors import UserError
from towers.publishing.sinks.filling import Engine, Filling
from towers.publishing.sinks.sink import Progress
from towers.retrieval.export import Export


class EngineSink(ABC):
    """A `Sink` that uses an engine's client; a subclass opens the client and knows the names that serving reads.

    Args:
        uri: path of a local engine, or SCHEME://... of a remote one.
        prefix: prefix of the names of tables.
        batch_size: number of rows sent at a time.
        keep: number of versions that are kept, including the one that is served and the one before it.
        dim: number of leading dimensions of the vectors that are written, normalised; null: all.

    Raises:
        UserError: a setting is out of range.
    """

    def __init__(self, *, uri: str, prefix: str, batch_size: int, keep: int, dim: int | None):
        if batch_size < 1:
            raise UserError(f"sink.batch_size={batch_size}: must be at least 1")
        self._uri, self._prefix, self._batch_size = uri, prefix, batch_size
        self._filling = Filling(prefix=prefix, keep=keep, dim=dim)

    @abstractmethod
    def _engine(self) -> AbstractContextManager[Engine]:
        """Opens the engine, and creates it where there is none; its errors are raised as `UserError`."""

    @abstractmethod
    def _led(self, served: str) -> str:
        """Returns a line that says what serving reads now."""

    @property
    def _shown(self) -> str:
        """Address as messages may show it."""
        return self._uri

    @property
    def _folder(self) -> Path:
        """Folder that a local engine writes to."""
        return Path(self._uri)

    @property
    def _is_local(self) -> bool:
        return "://" not in self._uri

    @property
    def _is_there(self) -> bool:
        """Whether there may be an engine; false for a local path that does not exist."""
        return not self._is_local or Path(self._uri).exists()

    def check(self, dim: int) -> None:
        """See `Sink.check`."""
        self._filling.check(dim)

    def write(self, export: Export, on_progress: Progress) -> str:
        """See `Sink.write`."""
        with self._engine() as engine:
            served = self._filling.write(engine, export, on_progress)
        return self._led(served)

    def fill(self, export: Export, on_progress: Progress) -> str:
        """See `Sink.fill`."""
        with self._engine() as engine:
            filled = self._filling.fill(engine, export, on_progress)
        return f"{self._shown} holds {filled}"

    def serve(self, export: Export) -> str:
        """See `Sink.serve`."""
        with self._engine() as engine:
            served = self._filling.serve(engine, export)
        return self._led(served)

    def served(self) -> str | None:
        """See `Sink.served`."""
        if not self._is_there:
            return None
        with self._engine() as engine:
            return self._filling.served(engine)

    def holding(self, ids: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """See `Sink.holding`."""
        if not self._is_there:
            return {}
        with self._engine() as engine:
            return self._filling.holding(engine, ids)

    def forget(self, ids: Mapping[str, Sequence[str]], export: Export | None, on_progress: Progress) -> None:
        """See `Sink.forget`."""
        with self._engine() as engine:
            self._filling.forget(engine, ids, export, on_progress)

    def reach(self) -> None:
        """See `Sink.reach`."""
        if self._is_local:
            check_writable("sink.uri", self._folder)
        if not self._is_there:  # to open it would make it
            return
        with self._engine() as engine:
            engine.tables()
