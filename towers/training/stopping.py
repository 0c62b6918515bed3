"""A polite request to end, from the terminal or a scheduler: the run saves where it stands, and then ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""SIGTERM: schedulers and torchrun; SIGUSR1: SLURM's `--signal=USR1@60`; SIGINT: the terminal."""


class Stopped(SystemExit):
    """Ended by a signal, saved; the exit code is the shell's for it."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """Spans a block that SIGTERM and SIGUSR1 end by `Stopped`, so that what it holds is let go of and who watches it
    is told; a training within saves first, by its own `StopRequest`.

    Outside of the main thread, where Python allows no handlers, it changes nothing.

    Raises:
        Stopped: a signal came.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in SIGNALS if is_main and number != signal.SIGINT]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopRequest:
    """Listens for a signal while the block runs. The second one of the terminal is not waited for.

    Outside of the main thread, where Python allows no handlers, it hears nothing.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        is_main = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.getsignal(number) for number in SIGNALS if is_main}
        self.listen()
        return self

    def listen(self) -> None:
        """Listens, again where others have set their handlers since; without effect outside of the block."""
        for number in self._before:
            signal.signal(number, self._heard)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number
