"""Requests to stop by signal, from the terminal or a scheduler: the run saves its state and ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""Handled signals. SIGTERM: schedulers and torchrun; SIGUSR1: SLURM's `--signal=USR1@60`; SIGINT: the terminal."""


class Stopped(SystemExit):
    """A run was ended by a signal, after saving; the exit code is the shell's for that signal."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """Spans a block that SIGTERM and SIGUSR1 end by raising `Stopped`, so that resources are released and watchers are
    told; a training within it saves first, through its own `StopRequest`.

    Outside of the main thread, where Python allows no signal handlers, it does nothing.

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
    """Records a signal while the block runs. A second SIGINT raises KeyboardInterrupt at once.

    Outside of the main thread, where Python allows no signal handlers, it records none.
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
        """Sets its handlers, again where others were set since; has no effect outside of the block."""
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
