"""A file that all processes of a server read: the version that each serves, and when its event loop last ran."""

import asyncio
import json
import logging
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from anyio.to_thread import current_default_thread_limiter

from towers.errors import UserError
from towers.manifest import atomic_file
from towers.service.snapshot import Snapshot

LOG = logging.getLogger("towers.service")
BEAT_S: Final = 1.0
"""Seconds between two beats."""
DIGITS: Final = 20
"""Digits of the time of a beat, in nanoseconds. It stands at the beginning of a process' file and is overwritten in
place, which needs no room on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The version that one process serves.

    Args:
        version: name of the export's version.
        space_id: space of its vectors.
        format: format of its files.
        towers: version of Towers that serves it.
        data_end_s: time of the last event that it knows, in seconds since 1970; null without a clock.
        opened_s: time at which this process opened it, in seconds since 1970.
        contents: number of contents.
        listeners: number of listeners.
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
        """Describes a version that has just been opened."""
        facts = snapshot.facts
        return cls(
            version=facts["version"],
            space_id=facts["space_id"],
            format=facts["format"],
            towers=facts["towers"],
            data_end_s=None if snapshot.export.until_us is None else snapshot.export.until_us / 1e6,
            opened_s=time.time(),
            contents=len(snapshot.export.vectors),
            listeners=len(snapshot.export.user_ids),
        )


@dataclass(slots=True)
class Roster:
    """The processes of a server, and what each serves.

    Args:
        folder: folder in which each process keeps a file named by its process id. The file begins with the time of its
            last beat on the monotonic clock, which all processes share. Null: this process alone serves.
    """

    folder: Path | None = None
    _own: tuple[Served, float] | None = field(default=None, init=False)
    _noted: Served | None = field(default=None, init=False)
    _is_troubled: bool = field(default=False, init=False)

    def tell(self, served: Served) -> None:
        """Notes what this process serves from now on; this counts as a beat. If the file cannot be written, for example
        on a full disk, a line of the log says so, and each beat tries again."""
        self._own = served, time.monotonic()
        self.beat()

    def beat(self) -> None:
        """Notes the present time, as a sign that this process does not hang."""
        if self._own is None:
            return
        self._own = self._own[0], time.monotonic()
        if self.folder is None:
            return
        path, beat = self._file(os.getpid()), f"{time.monotonic_ns():0{DIGITS}}"
        try:
            if path.exists():
                with path.open("r+b", buffering=0) as file:
                    file.write(beat.encode())
            if self._noted is not self._own[0] or not path.exists():
                with atomic_file(path) as temporary:
                    temporary.write_text(beat + json.dumps(asdict(self._own[0])))
                self._noted = self._own[0]
            self._is_troubled = False
        except (OSError, UserError) as error:
            if not self._is_troubled:
                LOG.error("what this process serves cannot be noted (%s); it is tried again", error)
            self._is_troubled = True

    def gone(self, process: int) -> None:
        """Removes a process that has ended."""
        if process == os.getpid():
            self._own = None
        if self.folder is not None:
            self._file(process).unlink(missing_ok=True)

    def processes(self) -> dict[int, tuple[Served, float]]:
        """Returns, by process id, what each process serves and how many seconds ago its last beat was."""
        now = time.monotonic()
        if self.folder is None:
            return {} if self._own is None else {os.getpid(): (self._own[0], now - self._own[1])}
        found = {}
        for path in self.folder.glob("*.json"):
            try:
                text = path.read_text()
                found[int(path.stem)] = Served(**json.loads(text[DIGITS:])), now - int(text[:DIGITS]) / 1e9
            except (OSError, ValueError, TypeError):  # it has ended meanwhile
                continue
        return found

    async def beating(self) -> None:
        """Beats every `BEAT_S` from the event loop while requests get through; runs until it is cancelled.

        If every thread is busy with the same request as at the last beat, none has got through, and it does not beat.
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
