"""A sweep (`-m`): its folder, which job a line belongs to, and what every job came to."""

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
"""Folder within a sweep's with a file a job."""
MAX_NAME = 60
"""Letters of a sweep's name that say what is swept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one job of a sweep was given, and what it came to.

    Args:
        number: from 1.
        given: key -> value, as typed, without what all jobs were given.
        result: what the command returned, as text; null where it failed.
        error: in one line; null where it did not fail.
    """

    number: int
    given: dict[str, str]
    result: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweepable:
    """What a command makes of its own sweeps.

    Args:
        score: of what one job returned; sweepers that choose the next jobs by it get it. Null where there is none.
        tell: is given the sweep's folder and all jobs once they are over.
    """

    score: Callable[[Any], float | None]
    tell: Callable[[Path, Sequence[Job]], None]


class Sweep:
    """The jobs of one sweep. Each writes what it came to into the sweep's folder: a launcher may start them elsewhere.

    Args:
        command: its name.
        overrides: of the command line, quoted as Hydra wants them.
        config_dir: of the caller's own groups; null: none.
        sweepable: the command's own part.
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
        """Runs one job, each line of it marked. In a grid the others go on after one that failed."""
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
                if not self._is_grid:  # a sweeper of somebody's own decides what becomes of it
                    raise
                print(f"failed: {said}")
                self._failed.append(error)
                return None
        self._write(Job(number=number, given=given, result=str(result), error=None))
        return self._sweepable.score(result)

    def tell(self) -> None:
        """Tells what all jobs came to; raises what the first one that failed here did."""
        if is_first_process():
            jobs = [Job(**read_json(path)) for path in (self.folder / JOBS).glob("*.json")]
            self._sweepable.tell(self.folder, sorted(jobs, key=lambda job: job.number))
        if self._failed:
            raise self._failed[0]

    def _write(self, job: Job) -> None:
        if is_first_process():
            write_json(self.folder / JOBS / f"{job.number}.json", asdict(job))


def sweep_name() -> str | None:
    """The name of the sweep that this job belongs to; null outside of one."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(str(HydraConfig.get().sweep.dir)).name


def _name(swept: Sequence[Override], overrides: Sequence[str]) -> str:
    """Says what is swept, and is the same for the same command."""
    keys = "-".join(sorted(re.sub(r"[^\w.]", "-", override.key_or_group) for override in swept))
    return f"{keys[:MAX_NAME] or 'sweep'}-{digest_of(sorted(overrides))[:8]}"


def _is_listed(override: Override) -> bool:
    return override.is_discrete_sweep() and override.value_type != ValueType.GLOB_CHOICE_SWEEP


class _Marked(io.TextIOBase):
    """A stream whose lines begin with a mark; what moves a terminal's cursor, such as a bar, goes through as it is."""

    def __init__(self, stream: Any, mark: str):
        self._stream = stream
        self._mark = mark
        self._is_at_start = True

    def write(self, text: str) -> int:
        """Writes; returns the length of what was given."""
        if "\x1b" in text or "\r" in text:
            self._stream.write(text)
            return len(text)
        for line in text.splitlines(keepends=True):
            self._stream.write(self._mark + line if self._is_at_start else line)
            self._is_at_start = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        """Writes out what the stream has kept."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Gives the operating system's number of the stream's file."""
        return self._stream.fileno()

    # Whoever draws asks for it, and the base class says null.
    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute there, which io makes read-only
        """Names the encoding of the stream, such as utf-8."""
        return self._stream.encoding
