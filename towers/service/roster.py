"""What each process of a server serves, and when its event loop last came round: read by all of them."""

import asyncio
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from anyio.to_thread import current_default_thread_limiter

from towers.errors import UserError
from towers.manifest import read_json, write_json
from towers.service.snapshot import Snapshot

BEAT_S: Final = 1.0
"""Seconds between two beats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one process serves.

    Args:
        version: of the export.
        space_id: of its vectors.
        format: of its files.
        towers: version of Towers; empty where it is not installed.
        data_end_s: last event that it knows, in seconds since 1970; null without a clock.
        opened_s: when this process opened it, likewise.
        contents: how many it has.
        listeners: how many it has.
    """

    version: str
    space_id: str
    format: int
    towers: str
    data_end_s: float | None
    opened_s: float
    contents: int
    listeners: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Served":
        """Of a version that has just been opened."""
        facts = snapshot.facts
        return cls(
            version=facts["version"],
            space_id=facts["space_id"],
            format=facts["format"],
            towers=facts["towers"] or "",
            data_end_s=None if snapshot.export.until_us is None else snapshot.export.until_us / 1e6,
            opened_s=time.time(),
            contents=len(snapshot.export.vectors),
            listeners=len(snapshot.export.user_ids),
        )


@dataclass(slots=True)
class Roster:
    """The processes of a server.

    Args:
        folder: where each notes itself, in a file by its number whose time is that of its last beat on the monotonic
            clock, which all processes share; null: this process alone serves.
    """

    folder: Path | None = None
    _own: tuple[Served, float] | None = field(default=None, init=False)

    def tell(self, served: Served) -> None:
        """Notes what this process serves from now on; that is a beat, too."""
        if self.folder is None:
            self._own = served, time.monotonic()
            return
        write_json(self._file(os.getpid()), asdict(served))
        self.beat()

    def beat(self) -> None:
        """Notes that this process is not hung."""
        if self.folder is not None:
            os.utime(self._file(os.getpid()), ns=(0, time.monotonic_ns()))
        elif self._own is not None:
            self._own = self._own[0], time.monotonic()

    def gone(self, process: int) -> None:
        """Strikes a process that has ended."""
        if self.folder is not None:
            self._file(process).unlink(missing_ok=True)

    def processes(self) -> dict[int, tuple[Served, float]]:
        """Returns, by the number of each process, what it serves and how many seconds ago its last beat was."""
        now = time.monotonic()
        if self.folder is None:
            return {} if self._own is None else {os.getpid(): (self._own[0], now - self._own[1])}
        found = {}
        for path in self.folder.glob("*.json"):
            try:
                beat_s = path.stat().st_mtime_ns / 1e9
                found[int(path.stem)] = Served(**read_json(path)), now - beat_s
            except (FileNotFoundError, UserError):  # it has ended meanwhile
                continue
        return found

    async def beating(self) -> None:
        """Beats from the event loop as long as it comes round and requests get through, until it is cancelled.

        Where every thread has a request, and the same ones as at the last beat, none has got through.
        """
        before: set[Any] = set()
        while True:
            threads = current_default_thread_limiter().statistics()
            borrowers = set(threads.borrowers)
            if threads.borrowed_tokens < threads.total_tokens or borrowers != before:
                self.beat()
            before = borrowers
            await asyncio.sleep(BEAT_S)

    def _file(self, process: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{process}.json"
