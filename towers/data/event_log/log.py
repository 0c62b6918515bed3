"""The event log of a data set: every accepted event of all raw files so far, and the rows that ids have."""

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from towers.data.event_log.files import LogFiles
from towers.data.event_log.rows import Rows
from towers.data.rejecting import Losses
from towers.manifest import digest_of, flush_folder, point_to, read_json, writer_of

LOG = "log"
"""Folder of the event logs of a store, beside its versions."""
CURRENT, MANIFEST, COLUMNS, ROWS, HEARD, REJECTED = (
    "current", "manifest.json", "columns", "rows", "heard.npy", "rejected.parquet",
)  # fmt: skip


class EventLog:
    """A state of a log, read only.

    Args:
        folder: folder of the log.
        rows: the row maps that it was written with; null: they are read from the folder when needed.
    """

    def __init__(self, folder: Path, rows: Rows | None = None):
        self.folder, self._given_rows = folder, rows
        self.manifest: dict[str, Any] = read_json(folder / MANIFEST)

    @classmethod
    def current(cls, root: Path) -> "EventLog | None":
        """Opens the newest log below a folder; null where there is none."""
        link = root / CURRENT
        return cls(link.resolve()) if link.exists() else None

    @property
    def losses(self) -> Losses:
        """The numbers of raw events that were read and left out."""
        return Losses(**self.manifest["losses"])

    @property
    def rejected(self) -> Path:
        """Path of the raw events that were left out, with their reasons; no file where none was."""
        return self.folder / REJECTED

    @cached_property
    def rows(self) -> Rows:
        """The rows that ids have."""
        return Rows.read(self.folder / ROWS) if self._given_rows is None else self._given_rows

    @cached_property
    def columns(self) -> LogFiles:
        """The columns of events on disk."""
        return LogFiles(self.folder / COLUMNS)

    @cached_property
    def heard(self) -> np.ndarray:
        """`[contents]`, int64: the number of events that name each content."""
        return np.load(self.folder / HEARD)

    def kept(self, root: Path) -> "EventLog":
        """Moves the log to where it stays, makes it the newest and removes earlier ones; returns it there."""
        target = root / digest_of([self.manifest, self.rows.digest, self.rows.forgotten.arrivals])[:16]
        if not target.exists() or (root / CURRENT).resolve() != target.resolve():
            # One that is there and not the newest was left by a kill, perhaps half removed, or with others forgotten.
            if target.exists():
                shutil.rmtree(target)
            flush_folder(self.folder)
            self.folder.replace(target)
        point_to(root / CURRENT, target)
        for path in root.iterdir():
            if path.is_dir() and not path.is_symlink() and path != target and writer_of(path.name) is None:
                shutil.rmtree(path)
        return EventLog(target, self.rows)
