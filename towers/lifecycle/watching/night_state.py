"""The state of a night while it runs and when it has ended: all that watchers are told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from towers.lifecycle.ledger import Ledger
from towers.lifecycle.record import Record
from towers.manifest import read_json
from towers.retrieval.files import MANIFEST

StepName = Literal[
    "dry_run", "prepare", "data_check", "twin", "evaluation", "refit", "export", "server", "publish", "prune"
]
STEPS: Final[tuple[StepName, ...]] = get_args(StepName)
"""The steps of a night in order; a night that ends early lacks the last ones."""
Ending = Literal["published", "nothing", "late", "refused", "failed", "stopped"]
"""How a night ended. published: a new version serves. nothing: there was nothing new to publish. late: its data ends
before that of the served version. refused: by the gate, or marked bad before. failed: by an error, the caller's or
another. stopped: by a signal; the same command continues."""
ENDINGS: Final[tuple[Ending, ...]] = get_args(Ending)
StepOutcome = Literal["ok", "refused", "failed", "stopped"]
"""How a step ended: refused by the gate, failed by an error, stopped by a signal; ok otherwise."""
WELL: Final[tuple[Ending, ...]] = ("published", "nothing", "late")
"""Endings with the exit code 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a night.

    Args:
        name: name of the step.
        began: time of its begin, in UTC.
        ended: time of its end, in UTC; null while it runs.
        outcome: outcome; null while it runs.
        error: error that ended it, in one line; null where it ended well or runs.
        facts: figures and names about it as JSON has them, such as the rows of the prepared tables.
    """

    name: StepName
    began: datetime
    ended: datetime | None = None
    outcome: StepOutcome | None = None
    error: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Returns the duration of the step; 0 while it runs."""
        return 0.0 if self.ended is None else (self.ended - self.began).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The version that serves.

    Args:
        version: name of the version.
        folder: folder of its export.
        space_id: space of its vectors.
        data_end: time of the last event that it knows, in UTC; null where events have no times.
        since: time when it began to serve, in UTC; null where it was not recorded.
    """

    version: str
    folder: Path
    space_id: str
    data_end: datetime | None
    since: datetime | None

    @classmethod
    def of(cls, ledger: Ledger) -> "Serving | None":
        """Reads the version that `current` points to; null where none serves.

        Raises:
            UserError: a record or the manifest cannot be read.
        """
        folder, champion = ledger.served(), ledger.champion()
        return None if folder is None else cls.at(folder, champion)

    @classmethod
    def at(cls, folder: Path, record: Record | None) -> "Serving | None":
        """Reads a version that serves or has served; null where its files are gone.

        Args:
            folder: folder of its export.
            record: record of it; null: the time when it began to serve is unknown.

        Raises:
            UserError: the manifest cannot be read.
        """
        if not (folder / MANIFEST).exists():
            return None
        manifest = read_json(folder / MANIFEST)
        return cls(
            version=folder.name,
            folder=folder,
            space_id=manifest["space_id"],
            data_end=utc(manifest.get("window", {}).get("end")),
            since=utc(record.serving_s) if record is not None and record.serving_s else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NightState:
    """The state of a night; paths are null until the step that makes them has ended.

    Args:
        data: name of the data set.
        experiment: name of the experiment.
        started: time when this process began, in UTC.
        root: folder, or address in an object store, of the raw data; null where the source has none.
        project: project of Weights & Biases to which the night's trainings are logged; null where they are not.
        nights: folder of the data set's records.
        runs: folder of all runs, below which `record.judged` and `record.refit` are.
        record: the night's record; null until the data is prepared. Its `night` names the night.
        store: folder of the prepared store.
        twin: folder of the run of tonight's judged twin.
        evaluation: folder of the twin's evaluation, with metrics.json and report.html.
        refit: folder of the run that is exported.
        export: folder of the version that was made.
        rival: name of the version that tonight's is compared with; null on the first night.
        rival_twin: folder of the run by which the rival is judged; null where it is gone.
        served_before: version that served when the night began; null where none did.
        serving: version that serves now; null where none does.
        config: the configuration of the command as plain values, without secrets.
        means: metrics on the judged window by key (`recall@20`, `recall@20/discovery`), for `tonight`, `champion`, and
            each baseline by its name; empty until the evaluation.
        steps: steps that were begun, in order.
        ending: how the night ended; null while it runs.
        why: last message about its ending; empty while it runs.
        ended: time of the end, in UTC; null while it runs.
    """

    data: str
    experiment: str
    started: datetime
    root: str | None
    project: str | None
    nights: Path
    runs: Path
    record: Record | None = None
    store: Path | None = None
    twin: Path | None = None
    evaluation: Path | None = None
    refit: Path | None = None
    export: Path | None = None
    rival: str | None = None
    rival_twin: Path | None = None
    served_before: Serving | None = None
    serving: Serving | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    means: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    ending: Ending | None = None
    why: str = ""
    ended: datetime | None = None

    @property
    def seconds(self) -> float:
        """Returns the duration of the night; 0 while it runs."""
        return 0.0 if self.ended is None else (self.ended - self.started).total_seconds()


def utc(text: str | None) -> datetime | None:
    """Parses a time of ISO 8601; one without a zone is in UTC. Null stays null.

    >>> utc("2026-07-14T03:00:00").isoformat()
    '2026-07-14T03:00:00+00:00'
    """
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
