"""Where metrics go: a CSV that survives a restart, and wandb beside it."""

import csv
import io
import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from towers.manifest import atomic_file

WANDB_HOST = "api.wandb.ai"


@runtime_checkable  # for the tests, which check annotations at run time
class MetricsLogger(Protocol):
    """Hears of metrics, on the first rank alone."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Figures by name, after `step` steps."""
        ...

    def save(self) -> None:
        """Whatever is pending goes where it stays."""
        ...

    def close(self, is_success: bool) -> None:
        """The run is over, or has failed."""
        ...


class CsvLogger:
    """One row a logged step, appended; a resumed run cuts the file back to its checkpoint and goes on.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._columns: list[str] = []
        self._pending: list[dict[str, Any]] = []
        if path.exists():
            self._columns = list(self._read()[0])

    def cut_back(self, rows: int) -> None:
        """Forgets all but the first `rows` rows: the run goes on from there."""
        if not self._path.exists():
            return
        columns, found = self._read()
        self._rewrite(columns, found[:rows])

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Adds a row."""
        self._pending.append({"step": step, **figures})

    def save(self) -> None:
        """Appends what is pending; only a new column makes it write the file again."""
        if not self._pending:
            return
        new = dict.fromkeys(name for row in self._pending for name in row if name not in self._columns)
        if new:
            self._rewrite([*self._columns, *new], self._read()[1])
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerows(self._pending)
        self._pending = []

    def close(self, is_success: bool) -> None:
        """Writes what is pending."""
        self.save()

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        if not self._path.exists():
            return [], []
        with self._path.open(newline="") as file:
            reader = csv.DictReader(file)
            # A kill in the middle of a line leaves a row without all its columns.
            rows = [row for row in reader if None not in row.values()]
            return list(reader.fieldnames or []), rows

    def _rewrite(self, columns: list[str], rows: list[dict[str, Any]]) -> None:
        self._columns = columns
        with atomic_file(self._path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


class WandbLogger:
    """One run of Weights & Biases, ended with the training, so that the next one of a sweep gets a run of its own.

    Args:
        folder: of the run.
        name: of the run; a resumed run continues it.
        config: the resolved configuration.
        project: on the server.
    """

    def __init__(self, folder: Path, name: str, config: dict[str, Any], project: str):
        self._run = _open(folder, name, project, config)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Sends them."""
        self._run.log(dict(figures), step=step)

    def save(self) -> None:
        """It sends by itself."""

    def close(self, is_success: bool) -> None:
        """Ends the run."""
        self._run.finish(exit_code=0 if is_success else 1)


def wandb_logger(folder: Path, name: str, config: dict[str, Any], project: str) -> list[MetricsLogger]:
    """Weights & Biases; without a key, offline below the run's folder (`wandb sync` uploads it later).

    Args:
        folder: of the run.
        name: of the run; a resumed run continues it.
        config: the resolved configuration.
        project: on the server.
    """
    return [WandbLogger(folder, name, config, project)]


def log_images(folder: Path, name: str, project: str, images: Mapping[str, bytes]) -> None:
    """Adds pictures of an evaluation to the Weights & Biases run that a training has written, offline as that was.

    Args:
        folder: of the run.
        name: of the run, as training gave it.
        project: on the server.
        images: PNG by name.
    """
    import wandb  # here, because trainings without it need not wait for it
    from PIL import Image

    run = _open(folder, name, project, None)
    with run:
        run.log({f"evaluation/{key}": wandb.Image(Image.open(io.BytesIO(image))) for key, image in images.items()})


def no_logger(folder: Path, name: str, config: dict[str, Any]) -> list[MetricsLogger]:
    """Nothing beside the CSV."""
    return []


def _open(folder: Path, name: str, project: str, config: dict[str, Any] | None) -> Any:
    import wandb  # here, because trainings without it need not wait for it

    os.environ.setdefault("WANDB_SILENT", "true")
    return wandb.init(
        project=project,
        name=name,
        id=name.replace("/", "-"),
        dir=folder,
        mode="online" if _has_key() else "offline",
        config=config,
        resume="allow",
    )


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(WANDB_HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
