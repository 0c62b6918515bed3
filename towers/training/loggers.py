"""Loggers of a training's metrics: a CSV file that survives restarts, and Weights & Biases beside it."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger

from towers.manifest import atomic_file
from towers.training.wandb_runs import by_step, opened, tell, where_kept


class CsvLogger(Logger):
    """A CSV file with one row per logged step; a resumed run cuts it back to its checkpoint and appends.

    Lightning's own CSV logger deletes the file that it finds.

    Args:
        path: path of the file.

    Attributes:
        rows: number of rows of the run so far, written or pending.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.rows = 0
        self._path = path
        self._columns: list[str] = []
        self._pending: list[dict[str, Any]] = []
        if path.exists():
            self._columns, found = self._read()
            self.rows = len(found)

    @property
    def name(self) -> str:
        """Name of the file without its ending."""
        return self._path.stem

    @property
    def version(self) -> str:
        """The empty string: there is only one version."""
        return ""

    def cut_back(self, rows: int) -> None:
        """Drops all rows after the first `rows`, from which the run resumes."""
        self.rows = rows
        if not self._path.exists():
            return
        columns, found = self._read()
        self._rewrite(columns, found[:rows])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds a row."""
        self.rows += 1
        self._pending.append({"step": step, **metrics})

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the configuration is saved beside the file."""

    @rank_zero_only
    def save(self) -> None:
        """Appends the pending rows; rewrites the file only where a column is new."""
        if not self._pending:
            return
        new = dict.fromkeys(name for row in self._pending for name in row if name not in self._columns)
        if new:
            self._rewrite([*self._columns, *new], self._read()[1])
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerows(self._pending)
        self._pending = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes the pending rows."""
        self.save()

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        if not self._path.exists():
            return [], []
        with self._path.open(newline="") as file:
            reader = csv.DictReader(file)
            # A process killed within a line leaves a row without all its columns.
            rows = [row for row in reader if None not in row.values()]
            return list(reader.fieldnames or []), rows

    def _rewrite(self, columns: list[str], rows: list[dict[str, Any]]) -> None:
        self._columns = columns
        with atomic_file(self._path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


def wandb_logger(save_dir: Path, name: str, project: str, group: str | None, job_type: str | None) -> WandbLogger:
    """Makes Lightning's logger of Weights & Biases; offline without a key or a network.

    Args:
        save_dir: folder of the run; offline files are kept there, and `wandb sync` uploads them later.
        name: name of the run; a resumed run continues it.
        project: project on the server.
        group: group of runs that belong together, such as a sweep's or a data set's nights; null: none.
        job_type: role of the run in its group; null: none.

    Raises:
        UserError: the key is not valid.
    """
    run = by_step(opened(save_dir, name, project, group, job_type))
    tell(where_kept(run, save_dir, str(save_dir / "metrics.csv")))
    return WandbLogger(project=project, experiment=run)


def close_loggers(loggers: Iterable[Logger], is_success: bool) -> None:
    """Saves all loggers at a run's end and finishes a wandb run, so that a sweep's next run opens its own."""
    for logger in loggers:
        logger.save()
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=0 if is_success else 1)
