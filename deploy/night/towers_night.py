"""Runs the commands of a night for an orchestrator, and reads what they leave behind.

Knows neither Dagster nor Airflow, and needs nothing but Python: `towers` lives in an environment of its own, so that no
version of a library has to suit both. Settings are environment variables:

    TOWERS_HOME               folder that nights are run in: stores, runs, exports and nights are below it
    TOWERS_COMMAND            how `towers` is called; towers
    TOWERS_DATA_NAME          name of the data set, data.name
    TOWERS_OVERRIDES          of both commands, such as: experiment=catalogue data.root=/data/streaming
    TOWERS_NIGHT_OVERRIDES    of `towers retrain` alone, such as: sink=milvus gate.rules.coverage=null
    TOWERS_PREPARE_OVERRIDES  of `towers prepare` alone; data/split=nightly, with which it makes the store of the night
    TOWERS_RETRY_S            seconds before a night that was killed is begun again; 60
"""

import contextlib
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

MISTAKE, REFUSED, TERMINATED = 2, 3, 143
"""Exit codes: the caller's mistake or the data's; refused by the gate; saved on SIGTERM."""
LOOK_S = 0.5
"""Seconds between two looks at what a command has said."""
KEPT_LOGS = 100
"""Files of commands that stay in `logs/`, the newest."""


class NightFailed(Exception):
    """A command did not end well.

    Args:
        words: of the command.
        code: its exit code; negative for a signal that killed it.
        said: its last lines.
    """

    def __init__(self, words: Sequence[str], code: int, said: Sequence[str]):
        self.code = code
        super().__init__("\n".join([f"ended with {code}: {shlex.join(words)}", *said]))

    @property
    def is_final(self) -> bool:
        """Returns whether a retry would end the same way. After other codes a retry resumes where it stopped:
        143 (a training that has saved), -9 or 137 (killed), 1 (the machine failed)."""
        return self.code in (MISTAKE, REFUSED)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a night: the command, its folder and its data set.

    Args:
        home: folder that nights are run in.
        command: command that starts `towers`.
        data: name of the data set.
        overrides: of both commands.
        night_overrides: of `towers retrain` alone.
        prepare_overrides: of `towers prepare` alone.
        retry_s: seconds before a night that was killed is begun again.
    """

    home: Path
    command: tuple[str, ...]
    data: str
    overrides: tuple[str, ...]
    night_overrides: tuple[str, ...]
    prepare_overrides: tuple[str, ...]
    retry_s: float

    @classmethod
    def from_environment(cls) -> "Settings":
        """Reads the variables; those that are not set have the defaults that the module tells."""

        def words(variable: str, default: str = "") -> tuple[str, ...]:
            return tuple(shlex.split(os.environ.get(variable, default)))

        return cls(
            home=Path(os.environ.get("TOWERS_HOME", "/srv/towers")),
            command=words("TOWERS_COMMAND", "towers"),
            data=os.environ.get("TOWERS_DATA_NAME", "nightly"),
            overrides=words("TOWERS_OVERRIDES"),
            night_overrides=words("TOWERS_NIGHT_OVERRIDES"),
            prepare_overrides=words("TOWERS_PREPARE_OVERRIDES", "data/split=nightly"),
            retry_s=float(os.environ.get("TOWERS_RETRY_S", "60")),
        )

    @property
    def prepare(self) -> tuple[str, ...]:
        """Command that prepares what came."""
        return (*self.command, "prepare", f"data.name={self.data}", *self.overrides, *self.prepare_overrides)

    @property
    def retrain(self) -> tuple[str, ...]:
        """Command of the night, which finds prepared what `prepare` has prepared. A second start waits for the first:
        the orchestrator shall know how the night ended."""
        return (
            *self.command, "retrain", f"data.name={self.data}", "wait=true", *self.overrides, *self.night_overrides,
        )  # fmt: skip

    @property
    def store(self) -> Path:
        """Folder of the newest store."""
        return (self.home / "stores" / self.data / "current").resolve()


@dataclass
class Running:
    """A command that runs, and that may be asked to end from a handler of signals.

    It writes to a file below `logs/` of its folder, which is read as it grows, and not into a pipe: a night outlives
    whoever has started it, and would end at the next line that it says to a pipe that nobody reads.

    Args:
        words: of the command.
        home: folder that it runs in.
        told: is called with each line that it says. What it raises is passed over, as where the orchestrator's database
            is locked: no night ends for want of a line in a log, and the line is in the file.
    """

    words: tuple[str, ...]
    home: Path
    told: Callable[[str], None] = print
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def wait(self) -> None:
        """Runs it to its end. If the orchestrator interrupts this process, by whatever exception that is no error
        (`BaseException` alone), the command gets SIGTERM and all the time that it needs to save: whoever cannot wait
        kills this process, and the command, which is in a session of its own, goes on or saves all the same.

        Raises:
            NightFailed: it did not end well.
        """
        log = _new_log(self.home)
        with log.open("wb") as written:
            process = self._process = subprocess.Popen(
                self.words, cwd=self.home, env={"PYTHONUNBUFFERED": "1", **os.environ}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT,
            )  # fmt: skip
        with log.open("rb") as read:
            lines = _Lines(read, self.told)
            try:
                while process.poll() is None:
                    lines.tell()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(LOOK_S)
            except BaseException:
                self.stop()
                process.wait()
                lines.tell_all()
                raise
            lines.tell_all()
        if process.returncode != 0:
            raise NightFailed(self.words, process.returncode, lines.last)

    def stop(self) -> None:
        """Asks it to end; returns at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


class _Lines:
    """The lines of a file that grows.

    Args:
        read: the file, open at its beginning.
        told: is called with each line.
    """

    def __init__(self, read: BinaryIO, told: Callable[[str], None]):
        self._read, self._told, self._begun = read, told, b""
        self.last: list[str] = []

    def tell(self) -> None:
        """Tells the lines that have come since, but for one that has no end yet."""
        for piece in self._read:
            self._begun += piece
            if self._begun.endswith(b"\n"):
                self._say()

    def tell_all(self) -> None:
        """Tells what is left of a command that has ended."""
        self.tell()
        if self._begun:
            self._say()

    def _say(self) -> None:
        line, self._begun = self._begun.decode(errors="replace").rstrip("\n"), b""
        self.last = [*self.last[-4:], line]
        with contextlib.suppress(Exception):
            self._told(line)


def _new_log(home: Path) -> Path:
    """The file that a command writes to; the oldest beyond KEPT_LOGS are removed."""
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    for old in sorted(logs.glob("*.log"))[: -KEPT_LOGS + 1]:
        old.unlink(missing_ok=True)
    return logs / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}.log"


def served(settings: Settings) -> dict[str, Any] | None:
    """Returns the record of the version that serves; null where nothing does, or where no night has made it."""
    current = settings.home / "exports" / "current"
    if not current.exists():
        return None
    version = current.resolve().name
    return next((record for record in _records(settings) if record.get("version") == version), None)


def tonight(settings: Settings) -> dict[str, Any] | None:
    """Returns the record of the newest store's night; null before it has begun."""
    found = [record for record in _records(settings) if record.get("store") == settings.store.name]
    return max(found, key=lambda record: record.get("started") or "", default=None)


def _records(settings: Settings) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (settings.home / "nights" / settings.data).glob("[!.]*.json")]


def data_verdict(settings: Settings, told: Callable[[str], None] = print) -> dict[str, Any]:
    """Returns the verdict on the newest store: `level`, `findings` and what it was `compared_with`.

    It is compared with the data of what serves, as the gate will: what was prepared since, and refused, may have had
    the same fault. Where nothing serves, `towers prepare` has said all there is to say.
    """
    champion = served(settings)
    before = None if champion is None else settings.store.parent / str(champion.get("store"))
    if before is None or before == settings.store or not before.exists():
        return json.loads((settings.store / "profile.json").read_text())["verdict"]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "profile.json"
        words = (
            *settings.command, "profile", f"data.name={settings.data}", *settings.overrides,
            f"compare=[{before.name},{settings.store.name}]", f"output={written}",
        )  # fmt: skip
        Running(words, settings.home, told).wait()
        return json.loads(written.read_text())["verdict"]


def is_trusted(verdict: dict[str, Any]) -> bool:
    """Says whether a night may begin: what the gate's rule `data_profile` refuses by default would end it anyway."""
    return verdict["level"] != "broken" and all(finding["rule"] != "nothing_new" for finding in verdict["findings"])


def store_figures(settings: Settings) -> dict[str, Any]:
    """Returns what is told of the newest store: fingerprint, and rows by table that has some."""
    manifest = json.loads((settings.store / "manifest.json").read_text())
    rows = {f"rows/{table}": count for table, count in manifest["counts"].items() if count}
    return {"fingerprint": manifest["fingerprint"], **rows}


def night_figures(record: dict[str, Any] | None) -> dict[str, Any]:
    """Returns what is told of a night: version, space, figures of the judged twin, and rules that refused."""
    if record is None:
        return {}
    verdict = record.get("verdict") or {}
    facts = {key: record.get(key) for key in ("night", "version", "space_id", "space_told", "data_end")}
    facts |= {"refused": ", ".join(verdict.get("refused", [])), "forced": verdict.get("forced")}
    return {key: value for key, value in {**facts, **record.get("metrics", {})}.items() if value not in (None, "")}


def rules(record: dict[str, Any] | None) -> dict[str, str]:
    """Returns what each rule of the gate said, in words, by its name."""
    outcomes = ((record or {}).get("verdict") or {}).get("outcomes", [])
    return {outcome["rule"]: f"{outcome['status']}: {outcome['words']}" for outcome in outcomes}
