"""Log of a night's steps as lines of JSON for any log collector."""

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from towers.extras import code_version
from towers.lifecycle.watching.appending import append_line, check_appendable
from towers.lifecycle.watching.night_state import NightState, Step
from towers.lifecycle.watching.watcher import Watcher
from towers.manifest import json_numbers
from towers.secrets import masked_values

STANDARD_OUTPUT: Final = "-"
_LEVELS: Final[Mapping[str, str]] = {"failed": "error", "refused": "warning", "stopped": "warning"}
"""Level of a line by how a step or a night ended; info for all others."""


class JsonLines(Watcher):
    """Appends one line of JSON for each step, and for each moment of a night.

    Args:
        path: file to which lines are appended; `-`: standard output; null: nothing is written.
    """

    def __init__(self, path: str | None):
        self._path = path

    @property
    def is_on(self) -> bool:
        """Returns whether a path is given."""
        return self._path is not None

    def check(self) -> None:
        """Checks that the file can be appended to."""
        if self._path not in (None, STANDARD_OUTPUT):
            check_appendable("watchers.json_lines.path", Path(self._path))

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
        line = json.dumps(json_numbers(masked_values(fields)), ensure_ascii=False, default=str)
        if self._path != STANDARD_OUTPUT:
            append_line(Path(self._path), line)
            return
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _fields(event: str, state: NightState, level: str) -> dict[str, Any]:
    """Returns all fields in order; those that the event does not have are null."""
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
        "towers": code_version(),
        "pid": os.getpid(),
    }
