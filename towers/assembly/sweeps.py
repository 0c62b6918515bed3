"""Results of a sweep of trainings: a table (terminal, Parquet, Weights & Biases), and links to the runs."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from towers.assembly.choosing import BEST, FinishedRun, best_of
from towers.config.sweeping import Job
from towers.manifest import atomic_file
from towers.training.wandb_runs import log_table

RUNS = "runs.parquet"
"""File in a sweep's folder with the table."""
WIDTH = 160
"""Width of the printed table without a terminal, in characters."""
SCHEMA = [
    ("monitor", pa.string()), ("best", pa.float64()), ("best_epoch", pa.int64()), ("seconds", pa.float64()),
    ("folder", pa.string()), ("error", pa.string()),
]  # fmt: skip
"""Columns of `runs.parquet` after the job's number and the keys that differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A job, and the run that it trained; null where it failed, or where nothing was kept."""

    job: Job
    run: FinishedRun | None

    @property
    def order(self) -> tuple[bool, float, int]:
        """Sort key: best first, then runs without validation, then failed jobs."""
        best = None if self.run is None else self.run.best
        return self.run is None, float("inf") if best is None else -best, self.job.number


def score(folder: Path) -> float | None:
    """Returns the best validation of a run; null where there was none."""
    run = FinishedRun.of(folder)
    return None if run is None else run.best


def tell(folder: Path, jobs: Sequence[Job]) -> None:
    """Prints a sweep's table, best first, and writes it into its folder, which also gets a link to every run."""
    rows = [Row(job=job, run=None if job.result is None else FinishedRun.of(Path(job.result))) for job in jobs]
    rows.sort(key=lambda row: row.order)
    differing = _differing(jobs)
    _link(folder, [row.run for row in rows if row.run is not None])
    table = _written(rows, differing)
    with atomic_file(folder / RUNS) as temporary:
        pq.write_table(table, temporary)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(_printed(rows, differing))
    for row in rows:
        if row.job.error is not None:
            print(f"job {row.job.number} failed: {row.job.error}")
    finished = [row.run for row in rows if row.run is not None]
    project = next((run.project for run in finished if run.project and (run.folder / "wandb").is_dir()), None)
    if project is not None:
        log_table(folder, f"sweeps/{folder.name}", project, table.to_pydict())
    print(f"swept {len(rows)} jobs, {len(finished)} finished: {folder}{_taken(folder, finished)}")


def _taken(folder: Path, finished: list[FinishedRun]) -> str:
    best = best_of(finished) if finished else None
    return "" if best is None else f"; the best is {best.folder}, which checkpoint={BEST}{folder} takes"


def _differing(jobs: Sequence[Job]) -> list[str]:
    """Returns the keys whose values differ among jobs, in the order in which they were typed."""
    keys = dict.fromkeys(key for job in jobs for key in job.given)
    return [key for key in keys if len({job.given.get(key) for job in jobs}) > 1]


def _link(folder: Path, runs: Sequence[FinishedRun]) -> None:
    """Links to the runs, in place of the links of an earlier sweep of the same name."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        if left.is_symlink():
            left.unlink()
    for run in runs:
        link = folder / f"{run.folder.parent.name}-{run.folder.name}"
        if not link.is_symlink():  # two jobs may share a run
            link.symlink_to(os.path.relpath(run.folder.resolve(), folder.resolve()), target_is_directory=True)


def _written(rows: Sequence[Row], differing: Sequence[str]) -> pa.Table:
    schema = pa.schema([("job", pa.int64()), *((key, pa.string()) for key in differing), *SCHEMA])
    return pa.Table.from_pylist([dict(_values(row, differing)) for row in rows], schema=schema)


def _values(row: Row, differing: Sequence[str]) -> Iterator[tuple[str, Any]]:
    yield "job", row.job.number
    yield from ((key, row.job.given.get(key)) for key in differing)
    if row.run is not None:
        yield from ((name, getattr(row.run, name)) for name in ("monitor", "best", "best_epoch", "seconds"))
        yield "folder", str(row.run.folder)
    yield "error", row.job.error


def _printed(rows: Sequence[Row], differing: Sequence[str]) -> Table:
    monitors = {row.run.monitor for row in rows if row.run is not None and row.run.monitor is not None}
    table = Table(title="best first", title_justify="left")
    for name in ("job", *differing):
        table.add_column(Text(name), justify="left" if name in differing else "right")
    table.add_column(Text(monitors.pop() if len(monitors) == 1 else "best validation"), justify="right")
    table.add_column("after epoch", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("folder", overflow="fold")
    for row in rows:
        given = [Text(row.job.given.get(key, "")) for key in differing]
        table.add_row(str(row.job.number), *given, *map(Text, _figures(row)))
    return table


def _figures(row: Row) -> tuple[str, str, str, str]:
    run = row.run
    if run is None:
        return ("–" if row.job.error is None else "failed", "", "", "")
    best = "–" if run.best is None else f"{run.best:.4f}"
    return best, str(run.best_epoch or ""), f"{run.seconds:.0f}", str(run.folder)
