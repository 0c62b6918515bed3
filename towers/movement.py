"""Whether a process and those that it has started do anything: processor time, and bytes that they write."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a process and all its descendants have spent so far, those that have ended and were waited for included.

    Args:
        core_s: seconds of processor time.
        written: bytes, through calls that write; 0 where the system does not say.
    """

    core_s: float
    written: int

    @classmethod
    def now(cls) -> "Spent":
        """Reads it of this process from /proc; without one, processor time alone, of children once they have ended."""
        tree = _tree(os.getpid())
        if not tree:
            times = os.times()
            return cls(core_s=times.user + times.system + times.children_user + times.children_system, written=0)
        return cls(core_s=sum(ticks for _, ticks in tree.values()) / TICKS, written=sum(map(_written, tree)))


class Movement:
    """Says whether this process moves, as against one that hangs, such as in the calls of a dead network mount.

    The threshold is there because a hung program's other threads go on to do a little.

    Args:
        min_core_share: least processor time since the last look, as a share of one core.
        min_bytes: or so many bytes written since then.
    """

    def __init__(self, min_core_share: float, min_bytes: int):
        self._min_core_share, self._min_bytes = min_core_share, min_bytes
        self._last, self._at = Spent.now(), time.monotonic()

    def since_last(self) -> bool:
        """Whether it has moved since the last look."""
        spent, at = Spent.now(), time.monotonic()
        core_s, written, seconds = spent.core_s - self._last.core_s, spent.written - self._last.written, at - self._at
        self._last, self._at = spent, at
        return core_s >= self._min_core_share * seconds or written >= self._min_bytes


def _tree(root: int) -> dict[int, tuple[int, int]]:
    """Returns parent and ticks of a process and all its descendants, by their numbers; empty without /proc."""
    found: dict[int, tuple[int, int]] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            # pid (name) state ppid ... utime stime cutime cstime; a name may hold spaces and brackets: proc_pid_stat(5)
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        found[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    inside = {root} & found.keys()
    while more := {one for one, (parent, _) in found.items() if parent in inside} - inside:
        inside |= more
    return {one: found[one] for one in inside}


def _written(process: int) -> int:
    """Returns `wchar` of proc_pid_io(5); 0 where it may not be read."""
    try:
        lines = (PROC / str(process) / "io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("wchar:")), 0)
