"""A training that stops at the edge of every window until it is asked to go on. Knows no side: all import it.

The process that runs it writes a number of steps as a line and reads a line of JSON with what those steps took, so that
trainings can take turns. An empty line, or the end of the input, ends the training.
"""

import json
import resource
import sys
import time


class Windows:
    """Counts the steps and the sequences of a window, and its core-seconds: of all threads and ended children."""

    def __init__(self) -> None:
        self._left = 0
        self._sequences = self._targets = 0
        self._started: float | None = None

    def goes_on(self) -> bool:
        """Is called before a step. Waits at the edge of a window; False: nothing more is asked for."""
        if self._left == 0:
            if self._started is not None:
                taken = core_seconds() - self._started
                tell({"sequences": self._sequences, "targets": self._targets, "core_seconds": taken})
            line = sys.stdin.readline().strip()
            if not line:
                return False
            self._left, self._sequences, self._targets, self._started = int(line), 0, 0, core_seconds()
        self._left -= 1
        return True

    def count(self, sequences: int, targets: int = 0) -> None:
        """Adds a step's sequences, and what they train on where the side says it."""
        self._sequences += sequences
        self._targets += targets


def core_seconds() -> float:
    """Returns the processor time of this process so far, user and system."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_memory_gb() -> float:
    """The most that this process ever had; Linux counts in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def tell(figures: dict) -> None:
    """Writes a line to the process that runs this, even where a library redirects prints."""
    print(json.dumps(figures), file=sys.__stdout__, flush=True)
