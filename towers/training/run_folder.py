"""A run's folder: the names of its files, and whether a process is training there. Imports no torch."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towers.errors import Unreachable
from towers.manifest import alone

LAST, BEST, PLACED = "last.ckpt", "best.ckpt", "placed.ckpt"
FINISHED = "finished.json"
"""Files of a run's folder: the latest state, the best one, the best one with contents placed anew, and `FINISHED`,
which is written once the run is complete."""
CONFIG_FILE, ENVIRONMENT_FILE = "config.yaml", "environment.json"
"""Files that record how the run was made."""
_LOCK = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Locks a run's folder for the block; the lock ends with the process.

    Raises:
        Unreachable: another process holds the lock.
    """

    def refuse() -> None:
        raise Unreachable(f"{folder}: another process is training there; wait until it ends, or stop it")

    with alone(folder / _LOCK, refuse):
        yield


def is_held(folder: Path) -> bool:
    """Returns whether a process is training in a run's folder; writes nothing there."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)  # network disks give no lock to a file opened for reading
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
