"""Measures whether a process and its descendants do anything: processor time, and bytes read and written."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICKS: Final = os.sysconf("SC_CLK_TCK")
COUNTED: Final = ("rchar:", "wchar:", "read_bytes:")
"""Counters of bytes that calls have read and written, and that came from disks; the last one includes mapped files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Work of a process and all its descendants so far, including those that have ended and were waited for.

    Args:
        core_s: seconds of processor time.
        moved: bytes that went through calls that read or write files and pipes, and those read from disks, mapped files
            included; 0 where the system does not report them.
        looked: bytes among them that this measurement itself has read.
    """

    core_s: float
    moved: int
    looked: int

    @classmethod
    def now(cls) -> "Spent":
        """Measures this process by /proc; without /proc, processor time alone, of children once they have ended."""
        tree, looked = _tree(os.getpid())
        if not tree:
            times = os.times()
            return cls(
                core_s=times.user + times.system + times.children_user + times.children_system, moved=0, looked=0
            )
        core_s = sum(ticks for _, ticks in tree.values()) / TICKS
        return cls(core_s=core_s, moved=sum(map(_moved, tree)), looked=looked)


class Movement:
    """Tells whether this process moves or hangs, such as in calls to a dead network mount.

    There are thresholds because the other threads of a hung program still do a little.

    Args:
        min_core_share: least processor time since the last look, as a share of one core.
        min_bytes: bytes read and written since the last look that count as movement, too.
    """

    def __init__(self, min_core_share: float, min_bytes: int):
        self._min_core_share, self._min_bytes = min_core_share, min_bytes
        self._last, self._at = Spent.now(), time.monotonic()

    def since_last(self) -> bool:
        """Returns whether the process has moved since the last look."""
        spent, at = Spent.now(), time.monotonic()
        core_s, seconds = spent.core_s - self._last.core_s, at - self._at
        moved = spent.moved - self._last.moved - spent.looked
        self._last, self._at = spent, at
        return core_s >= self._min_core_share * seconds or moved >= self._min_bytes


def _tree(root: int) -> tuple[dict[int, tuple[int, int]], int]:
    """Returns parent and ticks of a process and all its descendants, by process number, and the bytes that were read to
    find them; empty without /proc."""
    found: dict[int, tuple[int, int]] = {}
    looked = 0
    for folder in PROC.glob("[0-9]*"):
        try:
            # pid (name) state ppid ... utime stime cutime cstime; a name may hold spaces and brackets: proc_pid_stat(5)
            told = (folder / "stat").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        looked += len(told)
        fields = told.rpartition(b")")[2].split()
        found[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    inside = {root} & found.keys()
    while more := {one for one, (parent, _) in found.items() if parent in inside} - inside:
        inside |= more
    return {one: found[one] for one in inside}, looked


def _moved(process: int) -> int:
    """Returns the sum of `COUNTED` of proc_pid_io(5); 0 where it may not be read."""
    try:
        lines = (PROC / str(process) / "io").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(COUNTED))
