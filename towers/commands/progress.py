"""Progress of a command: a bar for each stage on a terminal's error stream, or lines with the time in a log."""

import time
from datetime import datetime
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY_S = 60.0
"""Seconds between two lines of one stage; the first comes when it begins."""


class StageProgress:
    """Shows stages by name; a stage of unknown length shows that it is under way.

    Without a terminal, as in the log of a nightly run, each stage is a line with the time of day and the seconds since
    the first stage began, repeated every minute while it lasts.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._is_watched = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description:>14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[remark]}"),
            console=console,
            disable=not self._is_watched,
        )
        self._tasks = {}
        self._began = time.monotonic()
        self._told: dict[str, float] = {}

    def __enter__(self) -> "StageProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, stage: str, done: int, total: int, remark: str = "", /) -> None:
        """Sets the progress of `stage`, and a remark beside it; `total` 0 means that the length is unknown."""
        if not self._is_watched:
            self._tell(stage, done, total, remark)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total or None, remark=remark)
        self._progress.update(self._tasks[stage], completed=done, total=total or None, remark=remark)

    def _tell(self, stage: str, done: int, total: int, remark: str) -> None:
        now = time.monotonic()
        if stage in self._told and now - self._told[stage] < EVERY_S:
            return
        self._told[stage] = now
        how_far = [f"{done:,} of {total:,}" if total else "", remark]
        told = ", ".join([stage, *filter(None, how_far)])
        print(f"{datetime.now():%H:%M:%S}, {now - self._began:.0f} s: {told}", flush=True)
