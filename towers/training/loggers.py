"""Where metrics go: a CSV that survives a restart, and Weights & Biases beside it."""

import csv
import io
import netrc
import os
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger

from towers.errors import UserError
from towers.manifest import atomic_file

WANDB_URL = "https://api.wandb.ai"
WANDB_ADVICE = "WANDB_MODE=offline keeps the run on disk, logger=csv leaves Weights & Biases out"
REACHED_WITHIN_S = 5.0
KEY = re.compile(r"\w{40,}|[^-]*-[\w-]{40,}|[\w-]+\.[\w-]+\.[\w-]+")
"""A secret, after a prefix where the server is one's own; or a JSON web token."""


class CsvLogger(Logger):
    """One row a logged step, appended; a resumed run cuts the file back to its checkpoint and goes on.

    Lightning's own deletes the file that it finds.

    Args:
        path: of the file.

    Attributes:
        rows: of the run so far, written or pending.
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
        """There is one."""
        return ""

    def cut_back(self, rows: int) -> None:
        """Forgets all but the first `rows` rows: the run goes on from there."""
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
        """Nothing: the configuration stands beside the file."""

    @rank_zero_only
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

    @rank_zero_only
    def finalize(self, status: str) -> None:
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


def wandb_logger(save_dir: Path, name: str, project: str, group: str | None) -> WandbLogger:
    """Weights & Biases, by Lightning's own logger; offline where there is no key or no network.

    Args:
        save_dir: the run's folder; what is kept offline lies there, and `wandb sync` uploads it later.
        name: of the run; a resumed run continues it.
        project: on the server.
        group: of runs that belong together, such as those of a sweep; null: none.

    Raises:
        UserError: the key will not do.
    """
    run = _open(save_dir, name, project, group)
    _tell(_where(run, save_dir))
    return WandbLogger(project=project, experiment=run)


def close_loggers(loggers: Iterable[Logger], is_success: bool) -> None:
    """The run is over, or has failed. A run of wandb ends with it, so that the next one of a sweep has its own."""
    for logger in loggers:
        logger.save()
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=0 if is_success else 1)


def log_images(folder: Path, name: str, project: str, images: Mapping[str, bytes]) -> None:
    """Adds pictures of an evaluation to the Weights & Biases run that a training has written, offline as that was.

    Args:
        folder: of the run.
        name: of the run, as training gave it.
        project: on the server.
        images: PNG by name.

    Raises:
        UserError: the key will not do.
    """
    import wandb  # here, because trainings without it need not wait for it
    from PIL import Image

    with _open(folder, name, project) as run:
        run.log({f"evaluation/{key}": wandb.Image(Image.open(io.BytesIO(image))) for key, image in images.items()})


def log_summary(folder: Path, name: str, project: str, facts: Mapping[str, Any]) -> None:
    """Adds facts to the summary of the Weights & Biases run that a training has written, offline as that was.

    Args:
        folder: of the run.
        name: of the run, as training gave it.
        project: on the server.
        facts: by name.

    Raises:
        UserError: the key will not do.
    """
    with _open(folder, name, project) as run:
        run.summary.update(dict(facts))


def log_table(folder: Path, name: str, project: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Writes a table as a Weights & Biases run of its own, in the group of the same name, offline as the others.

    Args:
        folder: in which the run is kept.
        name: of the run; another table under the same name takes its place.
        project: on the server.
        columns: by name, all of one length.

    Raises:
        UserError: the key will not do.
    """
    import wandb

    rows: list[Any] = [list(row) for row in zip(*columns.values(), strict=True)]
    with _open(folder, name, project, folder.name) as run:
        run.log({"runs": wandb.Table(columns=list(columns), data=rows)})


def _open(folder: Path, name: str, project: str, group: str | None = None) -> Any:
    from wandb.errors import AuthenticationError, CommError, UsageError  # here, as trainings may do without it

    os.environ.setdefault("WANDB_SILENT", "true")
    mode = wandb_mode()
    try:
        run = _begun(folder, name, project, mode, group)
    except AuthenticationError as error:
        raise UserError(f"WANDB_API_KEY: {' '.join(str(error).split())}; {WANDB_ADVICE}") from error
    except CommError as error:
        _tell(f"{' '.join(str(error).split())}; goes on offline")
        run = _begun(folder, name, project, "offline", group)
    except (UsageError, ValueError) as error:  # ValueError: pydantic's, of a WANDB_ variable
        raise UserError(f"logger=wandb: {' '.join(str(error).split())}; {WANDB_ADVICE}") from error
    run.define_metric("trainer/global_step")  # which Lightning's logger counts steps by
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def _begun(folder: Path, name: str, project: str, mode: str, group: str | None) -> Any:
    import wandb

    return wandb.init(
        project=project,
        name=name,
        group=group,
        id=name.replace("/", "-"),
        dir=folder,
        mode=mode,  # type: ignore[arg-type]  # whatever WANDB_MODE says
        resume="allow",
        settings=wandb.Settings(init_timeout=30),
    )


def wandb_mode() -> str:
    """What WANDB_MODE says; else online where there is a key and the server answers, and offline elsewhere.

    Raises:
        UserError: the key is none.
    """
    given = os.environ.get("WANDB_MODE")
    if given:
        return given
    key = os.environ.get("WANDB_API_KEY")
    if key:
        _check(key)
    if not _has_key():
        return "offline"
    url = os.environ.get("WANDB_BASE_URL", WANDB_URL)
    if _answers(url):
        return "online"
    _tell(f"{url} does not answer; goes on offline, and `wandb sync` uploads it later")
    return "offline"


def _where(run: Any, folder: Path) -> str:
    """Whether a run is online, offline or off, where its files lie, and how they reach the server."""
    if run.disabled:
        return f"off, as WANDB_MODE says; the figures are in {folder / 'metrics.csv'} alone"
    files = folder / "wandb" / Path(run.settings.sync_dir).name
    if not run.offline:
        return f"online, {run.url}; files in {files}"
    why = ", as WANDB_MODE says" if os.environ.get("WANDB_MODE") else "" if _has_key() else ", as there is no key"
    return f"offline{why}; files in {files}; `wandb sync {files}` uploads them"


def _has_key() -> bool:
    return bool(os.environ.get("WANDB_API_KEY")) or _is_in_netrc(os.environ.get("WANDB_BASE_URL", WANDB_URL))


def _tell(line: str) -> None:
    print(f"wandb: {line}", file=sys.stderr, flush=True)


def _check(key: str) -> None:
    """As wandb does it, which tells it by a traceback."""
    if not KEY.fullmatch(key):
        raise UserError(f"WANDB_API_KEY: no key has so few letters and digits, or such signs; {WANDB_ADVICE}")


def _answers(url: str) -> bool:
    """Whether the server says anything within some seconds; finding its address may take longer than any timeout."""
    found: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(url, timeout=REACHED_WITHIN_S).close()
            found.append(True)
        except urllib.error.HTTPError:  # an answer
            found.append(True)
        except (OSError, ValueError):
            found.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACHED_WITHIN_S)
    return found == [True]


def _is_in_netrc(url: str) -> bool:
    try:
        return netrc.netrc().authenticators(urlsplit(url).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
