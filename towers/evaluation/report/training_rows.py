"""The metrics that a training run wrote, as rows of figures."""

import csv
from pathlib import Path


def training_rows(path: Path) -> tuple[dict[str, float], ...]:
    """Rows of a run's `metrics.csv`; cells without a figure are left out.

    A file that is not there has no rows: an export was trained elsewhere.
    """
    if not path.exists():
        return ()
    with path.open(newline="") as file:
        return tuple(
            {column: float(cell) for column, cell in row.items() if column and cell} for row in csv.DictReader(file)
        )
