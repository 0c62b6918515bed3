"""One night at a time of a data set: a lock that says who holds it, and that a dead holder does not keep."""

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
"""The text has always this length, so that one write replaces all of it and no reader finds a half."""
LONGEST = 200
"""Characters of what is done; the rest is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock.

    Args:
        pid: number of the process.
        host: its machine.
        user: who started it.
        since: when it got the lock, ISO 8601 in UTC.
        what: it does.
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
        """Whether its process is gone from this machine; of other machines' processes nothing is known."""
        return self.host == socket.gethostname() and not is_alive(self.pid)

    @classmethod
    def read(cls, lock: Path) -> "Holder | None":
        """Reads who holds a lock, or was killed while holding it; null where nobody says so."""
        try:
            return cls(**json.loads(lock.read_text()))
        except (OSError, ValueError, TypeError):
            return None


class Held(Unreachable):
    """Another process holds the lock, and nobody wants to wait.

    Args:
        lock: its file.
        holder: who holds it; null for a process that has not said so yet.
    """

    def __init__(self, lock: Path, holder: Holder | None):
        self.holder = holder
        super().__init__(f"{lock}: held for {_named(holder)}; nothing was done")


@contextmanager
def held(lock: Path, what: str, wait: bool, told: Callable[[str], None]) -> Iterator[None]:
    """Holds a lock while the block runs.

    The system lets go of the lock of a process that dies, so that it is free at once; its text is left and told. On a
    network's disk whose locks do not reach other machines, the text is all that says of a holder elsewhere.

    Args:
        lock: a file that stays; its text says who holds it.
        what: is done meanwhile, in a few words.
        wait: whether to wait for another holder's end.
        told: is given a line about a holder that is waited for, or that died.

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
    """The holder, unless the text is one that a dead process left: the new holder has not written its own yet."""
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
