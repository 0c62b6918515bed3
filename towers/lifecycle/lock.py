"""Lock for one night at a time of a data set: it names its holder, and a dead holder does not keep it."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from towers.errors import Unreachable
from towers.lifecycle.who import user
from towers.manifest import alone, is_alive

TEXT_BYTES = 1_024
"""Fixed length of the text, so that one write replaces all of it and no reader finds half of it."""
LONGEST = 200
"""Most characters of the description of the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Holder of a lock.

    Args:
        pid: number of the process.
        host: name of its machine.
        user: user who started it.
        since: time when it got the lock, ISO 8601 in UTC.
        what: work that it does.
    """

    pid: int
    host: str
    user: str
    since: str
    what: str

    @property
    def told(self) -> str:
        """Names holder, process and time for people."""
        return f"{self.what} by {self.user} (process {self.pid} on {self.host}) since {self.since}"

    @property
    def is_dead(self) -> bool:
        """Returns whether its process has ended on this machine; false for other machines', which are unknown."""
        return self.host == socket.gethostname() and not is_alive(self.pid)

    @classmethod
    def read(cls, lock: Path) -> "Holder | None":
        """Reads who holds a lock, or was killed while holding it; null where the file does not say."""
        try:
            return cls(**json.loads(lock.read_text()))
        except (OSError, ValueError, TypeError):
            return None


class Held(Unreachable):
    """Another process holds the lock, and `wait` is false.

    Args:
        lock: lock file.
        holder: its holder; null for a process that has not written its text yet.
    """

    def __init__(self, lock: Path, holder: Holder | None):
        self.holder = holder
        super().__init__(f"{lock}: held for {_named(holder)}; nothing was done")


@contextmanager
def held(lock: Path, what: str, wait: bool, told: Callable[[str], None]) -> Iterator[None]:
    """Holds a lock while the block runs.

    The system releases the lock of a process that dies, so it is free at once; its text stays and is reported. On a
    network disk whose locks do not reach other machines, the text is the only sign of a holder elsewhere.

    Args:
        lock: lock file, which stays; its text names the holder.
        what: work done meanwhile, in a few words.
        wait: whether to wait for another holder's end.
        told: called with a line about a holder that is waited for, or that died.

    Raises:
        Held: another process holds it, and `wait` is false.
    """

    def taken() -> None:
        holder = _living(lock)
        if not wait:
            raise Held(lock, holder)
        told(f"{lock}: waiting for {_named(holder)}")

    lock.parent.mkdir(parents=True, exist_ok=True)
    with alone(lock, taken):
        before = Holder.read(lock)
        if before is not None:
            told(f"{lock}: taken over from {before.told}, which has died{_caution(before)}")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder = Holder(pid=os.getpid(), host=socket.gethostname(), user=user(), since=now, what=what[:LONGEST])
        _write(lock, json.dumps(asdict(holder)))
        try:
            yield
        finally:
            with suppress(OSError):
                os.truncate(lock, 0)


def _living(lock: Path) -> Holder | None:
    """Returns the holder, unless the text is that of a dead process: the new holder has not written its own yet."""
    holder = Holder.read(lock)
    return None if holder is None or holder.is_dead else holder


def _named(holder: Holder | None) -> str:
    return "another process, which has just begun" if holder is None else holder.told


def _caution(before: Holder) -> str:
    if before.host == socket.gethostname():
        return ""
    return f" or whose lock does not reach this machine: if it still runs on {before.host}, stop one of the two"


def _write(lock: Path, text: str) -> None:
    file = os.open(lock, os.O_WRONLY)
    try:
        os.pwrite(file, text.encode().ljust(TEXT_BYTES - 1) + b"\n", 0)
    finally:
        os.close(file)
