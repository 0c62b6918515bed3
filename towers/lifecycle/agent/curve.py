"""The curve of a training: a row for each step in a CSV, which continues after a kill, and in the other loggers."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.loggers.logger import Logger

from towers.lifecycle.agent.versions import CURVE
from towers.training.agent.starting import Watch
from towers.training.loggers import CsvLogger, close_loggers


@contextmanager
def curve(folder: Path, loggers: Callable[[Path], Sequence[Logger]]) -> Iterator[Watch]:
    """Yields a function that writes the curve of a training; loggers are closed when the block ends.

    A training that continues from a checkpoint repeats steps that the CSV already has: their rows are written anew.

    Args:
        folder: folder of the version.
        loggers: makes the loggers for the folder, the CSV among them.
    """
    opened, is_success = [*loggers(folder)], False
    csv_loggers = [logger for logger in opened if isinstance(logger, CsvLogger)]
    is_begun = False

    def watch(step: int, steps: int, figures: Mapping[str, float]) -> None:
        nonlocal is_begun
        if not is_begun:
            for logger in csv_loggers:
                logger.cut_back(_rows_before(folder / CURVE, step))
            is_begun = True
        for logger in opened:
            logger.log_metrics(dict(figures), step)
        for logger in csv_loggers:
            logger.save()

    try:
        yield watch
        is_success = True
    finally:
        close_loggers(opened, is_success)


def _rows_before(path: Path, step: int) -> int:
    """Returns the number of rows of the curve for earlier steps."""
    if not path.exists():
        return 0
    with path.open(newline="") as file:
        return sum(int(row["step"]) < step for row in csv.DictReader(file) if None not in row.values())
