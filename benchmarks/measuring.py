"""Code that benchmarks share: command line, times, description of the machine, and the writing of results."""

import argparse
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from towers.manifest import library_versions, write_json

RESAMPLES = 1_000
RESULTS = Path(__file__).parent / "results"
Result = TypeVar("Result")


class _Smallest(argparse.Action):
    """Sets all sizes at once; those that follow on the command line win."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: Any) -> None:
        vars(namespace).update(self.const, smallest=True)


def command_line(module_doc: str | None) -> argparse.ArgumentParser:
    """Returns a parser whose help is the module's docstring, line by line.

    Args:
        module_doc: `__doc__` of the benchmark.
    """
    return argparse.ArgumentParser(description=module_doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_smallest(parser: argparse.ArgumentParser, **sizes: Any) -> None:
    """Adds `--smallest`, with which a benchmark runs for seconds and writes no result: a check that it runs at all.

    Args:
        parser: that has an argument for each of the sizes.
        sizes: least value of each.
    """
    text = "least sizes, seconds in all; nothing is written, the figures mean nothing"
    parser.add_argument("--smallest", action=_Smallest, nargs=0, const=sizes, default=False, help=text)


def timed(run: Callable[[], Result]) -> tuple[Result, float]:
    """Calls a function; returns its result, and the core-seconds of this process that it took, all threads together."""
    started = time.process_time()
    result = run()
    return result, time.process_time() - started


def peak_mb() -> float:
    """The most memory that this program ever had; `getrusage` would count what its parent had when it started it."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].removesuffix("kB")) / 1024


def machine() -> dict[str, Any]:
    """Describes the machine: processor, cores, load average (other work included) and OMP_NUM_THREADS."""
    return {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "load_average": os.getloadavg(), "omp_num_threads": os.environ.get("OMP_NUM_THREADS")}  # fmt: skip


def commit() -> str:
    """Returns the short hash of HEAD, with a plus if tracked files outside results and docs differ; "" without git."""
    files = ("--untracked-files=no", "--", ":!benchmarks/results", ":!docs")
    asked = ("rev-parse", "--short", "HEAD"), ("status", "--porcelain", *files)
    name, changes = (subprocess.run(("git", *each), cwd=RESULTS.parents[1], capture_output=True, text=True, check=False)
                     .stdout.strip() for each in asked)  # fmt: skip
    return f"{name}+" if changes else name


def without_paths(overrides: Sequence[str]) -> list[str]:
    """Returns the overrides that can change a result: all but `paths.*` and `data.root`."""
    return [each for each in overrides if not each.startswith(("paths.", "data.root="))]


def write_result(arguments: argparse.Namespace, name: str, content: dict[str, Any]) -> Path:
    """Writes results/NAME-DATE.json, with the code, the machine and the libraries, unless the benchmark ran in its
    smallest form; returns the path."""
    now = datetime.now(UTC)
    path = RESULTS / f"{name}-{now:%Y-%m-%d}.json"
    if arguments.smallest:
        return path
    facts = {"when": now.isoformat(timespec="seconds"), "commit": commit(), "machine": machine(),
             "libraries": library_versions()}  # fmt: skip
    write_json(path, {**facts, **content})
    print(f"written to {path}")
    return path


def ratio(first: Float[np.ndarray, " listeners"], second: Float[np.ndarray, " listeners"]) -> dict[str, float]:
    """Returns the ratio of the means with its 95 % bootstrap interval over listeners; NaN where the second is all 0."""
    both = np.stack([first, second])[:, np.isfinite(first)]
    if not both[1].any():
        return dict.fromkeys(("ratio", "low", "high"), float("nan"))
    drawn = np.random.default_rng(0).integers(0, both.shape[1], (RESAMPLES, both.shape[1]))
    sums = both[:, drawn].sum(axis=2)
    low, high = np.quantile(sums[0][sums[1] > 0] / sums[1][sums[1] > 0], (0.025, 0.975))
    return {"ratio": float(both[0].sum() / both[1].sum()), "low": float(low), "high": float(high)}
