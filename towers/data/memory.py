"""Finds how much memory a process may use."""

import os
from pathlib import Path

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files in which Linux gives the memory limit of a group of processes, such as a container."""


def memory_bytes() -> int:
    """Returns the memory in bytes of the machine, or of the process's control group where that is less."""
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in LIMITS:
        try:
            known.append(int(path.read_text()))
        except (OSError, ValueError):  # no such file, or `max`
            continue
    return min(known)
