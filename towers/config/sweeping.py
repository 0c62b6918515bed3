"""A sweep (`-m`): its folder, which job a printed line belongs to, and the result of every job."""

import io
import math
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.types import RunMode
from omegaconf import DictConfig

from towers.config.composing import composed_for_sweep
from towers.manifest import digest_of, read_json, write_json
from towers.secrets import masked
from towers.training.rank import is_first_process

JOBS = "jobs"
"""Folder within a sweep's folder with a file for each job."""
MAX_NAME = 60
"""Most characters of a sweep's name that say what is swept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job of a sweep: its overrides and its result.

    Args:
        number: number of the job, from 1.
        given: overrides as typed, by key, without those that all jobs share.
        result: what the command returned, as text; null where it failed.
        error: error message in one line; null where it did not fail.
    """

    number: int
    given: dict[str, str]
    result: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweepable:
    """What a command does with its sweeps.

    Args:
        score: computes a score from the value that one job returned, for sweepers that choose the next jobs by it; null
            where there is none.
        tell: called with the sweep's folder and all jobs once they have ended.
    """

    score: Callable[[Any], float | None]
    tell: Callable[[Path, Sequence[Job]], None]


class Sweep:
    """The jobs of one sweep. Each writes its result into the sweep's folder, as a launcher may start it elsewhere.

    Args:
        command: name of the command.
        overrides: overrides of the command line, quoted as Hydra wants them.
        config_dir: folder of the caller's own groups; null: none.
        sweepable: what the command does with its sweeps.
    """

    def __init__(self, command: str, overrides: Sequence[str], config_dir: str | None, sweepable: Sweepable):
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        swept = [override for override in parsed if override.is_sweep_override()]
        self._sweepable = sweepable
        self._fixed = {override.key_or_group for override in parsed if not override.is_sweep_override()}
        self.overrides = list(overrides)
        if "hydra.sweep.dir" not in self._fixed:
            self.overrides.append(f"hydra.sweep.dir=${{paths.runs}}/sweeps/{_name(swept, overrides)}")
        hydra = composed_for_sweep(command, self.overrides, config_dir).hydra
        self.folder = Path(str(hydra.sweep.dir))
        self._is_grid = hydra.sweeper._target_.endswith(f".{BasicSweeper.__name__}")
        is_counted = self._is_grid and not hydra.sweeper.params and all(map(_is_listed, swept))
        self._total = math.prod(sum(1 for _ in each.sweep_string_iterator()) for each in swept) if is_counted else None
        self._failed: list[Exception] = []
        if is_first_process():
            for left in (self.folder / JOBS).glob("*.json"):
                left.unlink(missing_ok=True)

    def run(self, job: Callable[[DictConfig], Any], config: DictConfig) -> float | None:
        """Runs one job and marks each line that it prints. In a grid, a failed job does not stop the others."""
        facts = HydraConfig.get()
        number = int(facts.job.num) + 1
        task = dict(each.split("=", 1) for each in facts.overrides.task)
        given = {key: value for key, value in task.items() if key.lstrip("+~") not in self._fixed}
        label = f"job {number}" + (f" of {self._total}" if self._total else "")
        out, err = (_Marked(stream, f"{label}: ") for stream in (sys.stdout, sys.stderr))
        with redirect_stdout(out), redirect_stderr(err):
            print(", ".join(f"{key}={value}" for key, value in given.items()) or "nothing swept")
            try:
                result = job(config)
            except Exception as error:
                said = masked(" ".join(f"{error}".split())) or type(error).__name__
                self._write(Job(number=number, given=given, result=None, error=said))
                if not self._is_grid:  # another sweeper decides how to handle it
                    raise
                print(f"failed: {said}")
                self._failed.append(error)
                return None
        self._write(Job(number=number, given=given, result=str(result), error=None))
        return self._sweepable.score(result)

    def tell(self) -> None:
        """Reports the results of all jobs; raises the error of the first job that failed here."""
        if is_first_process():
            jobs = [Job(**read_json(path)) for path in (self.folder / JOBS).glob("*.json")]
            self._sweepable.tell(self.folder, sorted(jobs, key=lambda job: job.number))
        if self._failed:
            raise self._failed[0]

    def _write(self, job: Job) -> None:
        if is_first_process():
            write_json(self.folder / JOBS / f"{job.number}.json", asdict(job))


def sweep_name() -> str | None:
    """Returns the name of the sweep that this job belongs to; null outside a sweep."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(str(HydraConfig.get().sweep.dir)).name


def _name(swept: Sequence[Override], overrides: Sequence[str]) -> str:
    """Returns a name that says what is swept, the same for the same command."""
    keys = "-".join(sorted(re.sub(r"[^\w.]", "-", override.key_or_group) for override in swept))
    return f"{keys[:MAX_NAME] or 'sweep'}-{digest_of(sorted(overrides))[:8]}"


def _is_listed(override: Override) -> bool:
    return override.is_discrete_sweep() and override.value_type != ValueType.GLOB_CHOICE_SWEEP


class _Marked(io.TextIOBase):
    """A stream that marks the beginning of each line; text that moves a terminal's cursor, such as a bar, is
    unmarked."""

    def __init__(self, stream: Any, mark: str):
        self._stream = stream
        self._mark = mark
        self._is_at_start = True

    def write(self, text: str) -> int:
        """Writes; returns the length of the given text."""
        if "\x1b" in text or "\r" in text:
            self._stream.write(text)
            return len(text)
        for line in text.splitlines(keepends=True):
            self._stream.write(self._mark + line if self._is_at_start else line)
            self._is_at_start = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Returns whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Returns the file descriptor of the stream."""
        return self._stream.fileno()

    # Progress bars ask for it, and the base class returns null.
    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute there, which io makes read-only
        """Returns the encoding of the stream, such as utf-8."""
        return self._stream.encoding
