"""Metrics of a training run, read as rows."""

import csv
from pathlib import Path


def training_rows(path: Path) -> tuple[dict[str, float], ...]:
    """Reads the rows of a run's `metrics.csv`, without empty cells.

    A missing file gives no rows, as for an export without its training run.
    """
    if not path.exists():
        return ()
    with path.open(newline="") as file:
        return tuple(
            {column: float(cell) for column, cell in row.items() if column and cell} for row in csv.DictReader(file)
        )
