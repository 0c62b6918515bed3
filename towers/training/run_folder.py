"""A run's folder: what its files are called, and whether somebody is training there. Knows no torch."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towers.errors import Unreachable
from towers.manifest import alone

LAST, BEST, PLACED = "last.ckpt", "best.ckpt", "placed.ckpt"
FINISHED = "finished.json"
"""What a run's folder holds: where training stands, its best state, the same with contents placed anew, and this file
once all has come to its end."""
CONFIG_FILE, ENVIRONMENT_FILE = "config.yaml", "environment.json"
"""What it says of how the run was made, beside its checkpoints."""
_LOCK = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds a run's folder for the block; a process that dies lets go of it.

    Raises:
        Unreachable: another process holds it.
    """

    def refuse() -> None:
        raise Unreachable(f"{folder}: another process is training there; wait for its end, or stop it")

    with alone(folder / _LOCK, refuse):
        yield


def is_held(folder: Path) -> bool:
    """Whether a process is training in a run's folder; writes nothing there."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)  # for reading alone a network's disk gives no lock
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
