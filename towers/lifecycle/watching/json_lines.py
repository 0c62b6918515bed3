"""One JSON object a line for any log collector: what a night does, step by step."""

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from towers.disk import check_writable
from towers.errors import UserError
from towers.lifecycle.watching.night_state import NightState, Step
from towers.lifecycle.watching.watcher import Watcher
from towers.manifest import json_numbers
from towers.secrets import masked_values

STANDARD_OUTPUT: Final = "-"
_LEVELS: Final[Mapping[str, str]] = {"failed": "error", "refused": "warning", "stopped": "warning"}
"""Level of a line by how a step or a night ended; all else is info."""


class JsonLines(Watcher):
    """Appends one line of JSON for each step, and for each moment of a night.

    Args:
        path: file to which lines are appended; `-`: standard output; null: nothing is written.
    """

    def __init__(self, path: str | None):
        self._path = path

    @property
    def is_on(self) -> bool:
        """Whether a path is given."""
        return self._path is not None

    def check(self) -> None:
        """Looks whether the file can be appended to."""
        if self._path in (None, STANDARD_OUTPUT):
            return
        key, path = "watchers.json_lines.path", Path(self._path)
        if path.is_dir():
            raise UserError(f"{key}={path}: is a folder; give a file in it")
        if not path.parent.is_dir():
            raise UserError(f"{key}={path}: no folder {path.parent}; make it, or give another")
        if path.exists() and not os.access(path, os.W_OK):
            raise UserError(f"{key}={path}: cannot be written to; give another, or mend this one")
        check_writable(key, path.parent)

    def ready(self, state: NightState) -> None:
        """Writes that the process has begun."""
        self._write("ready", state)

    def begun(self, state: NightState) -> None:
        """Writes that the night has begun."""
        self._write("begun", state)

    def step_ended(self, state: NightState, step: Step) -> None:
        """Writes how a step has ended."""
        self._write(
            "step",
            state,
            level=_LEVELS.get(step.outcome or "", "info"),
            step=step.name,
            seconds=step.seconds,
            outcome=step.outcome,
            error=step.error,
            facts=step.facts,
        )

    def ended(self, state: NightState) -> None:
        """Writes how the night has ended."""
        level = _LEVELS.get(state.ending or "", "info")
        self._write("ended", state, level=level, seconds=state.seconds, ending=state.ending, why=state.why)

    def put_back(self, state: NightState) -> None:
        """Writes which version was put back, and why."""
        remarks = () if state.record is None else state.record.remarks
        self._write("put_back", state, level="warning", why=remarks[-1].why if remarks else None)

    def _write(self, event: str, state: NightState, level: str = "info", **facts: Any) -> None:
        if self._path is None:
            return
        fields = _fields(event, state, level) | facts
        line = json.dumps(json_numbers(masked_values(fields)), ensure_ascii=False, default=str) + "\n"
        if self._path == STANDARD_OUTPUT:
            sys.stdout.write(line)
            sys.stdout.flush()
            return
        # One write to the end of the file: lines of several processes stand whole, and a file that was moved away is
        # begun anew.
        data, file = line.encode(), os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.write(file, data) < len(data):
                raise OSError(f"{self._path}: a line was cut; is the disk full?")
        finally:
            os.close(file)


def _fields(event: str, state: NightState, level: str) -> dict[str, Any]:
    """Returns all fields in their order; those that the event does not know are null."""
    record = state.record
    return {
        "ts": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": event,
        "data": state.data,
        "experiment": state.experiment,
        "night": None if record is None else record.night,
        "version": None if record is None else record.version,
        "serving": None if state.serving is None else state.serving.version,
        "step": None,
        "seconds": None,
        "outcome": None,
        "error": None,
        "facts": {},
        "ending": None,
        "why": None,
        "towers": version("towers"),
        "pid": os.getpid(),
    }
