"""Runs of Weights & Biases read back from their files by wandb's own program."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ReadBack:
    """An offline run.

    Args:
        folder: folder of its files.
        records: its records in order, by kind.
    """

    folder: Path
    records: dict[str, list[dict[str, Any]]]

    @property
    def run(self) -> dict[str, Any]:
        """The run's own record."""
        return self.records["run"][0]

    @property
    def config(self) -> dict[str, Any]:
        """The run's configuration, without wandb's own part."""
        found: dict[str, Any] = {}
        for record in self.records.get("config", ()):
            found |= record["update"]
        return {name: value for name, value in found.items() if name != "_wandb"}

    @property
    def summary(self) -> dict[str, Any]:
        """The run's last summary; parts of a table or picture are named `NAME.PART`."""
        found: dict[str, Any] = {}
        for record in self.records.get("summary", ()):
            found |= record.get("update", {})
        return found

    @property
    def history(self) -> list[dict[str, Any]]:
        """The logged rows, in order."""
        return [record["item"] for record in self.records.get("history", ())]

    def table(self, name: str) -> tuple[list[str], list[list[Any]]]:
        """Returns columns and rows of a table."""
        found = json.loads((self.folder / "files" / self.summary[f"{name}.path"]).read_text())
        return found["columns"], found["data"]

    def artifacts(self, name: str) -> list[dict[str, Any]]:
        """Returns the artifacts of a name, in order, with their files by path."""
        found = [record for record in self.records.get("artifact", ()) if record["name"] == name]
        return [{**one, "files": {each["path"]: each for each in one["manifest"]["contents"]}} for one in found]


def read_back(folder: Path) -> ReadBack:
    """Reads the run in a folder."""
    until = time.monotonic() + 10  # wandb's own process may still be writing when its run has ended
    while "exit" not in (records := _records(folder)) and time.monotonic() < until:
        time.sleep(0.2)
    assert "exit" in records
    return ReadBack(folder, records)


def _records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    (path,) = folder.glob("run-*.wandb")
    with tempfile.TemporaryDirectory() as elsewhere:  # where wandb writes a log of its own
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "leet", "inspect", "--json", path.resolve()],
            cwd=elsewhere, capture_output=True, text=True, check=False,
        )  # fmt: skip
    records: dict[str, list[dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        found = json.loads(line)
        records.setdefault(found["type"], []).append(found[found["type"]])
    return records


def runs_in(nights: Path) -> list[Path]:
    """Returns the folders of the runs of a data set's nights, in the order in which they began."""
    return sorted(path for path in (nights / "wandb").glob("*run-*") if path.name != "latest-run")
