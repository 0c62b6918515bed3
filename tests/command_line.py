"""Runs `towers` as a user does, in a folder of its own: in this process, or in another one where that is tested."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from towers.cli import main
from towers.errors import ExitCode

SMALL_WORLD = (
    "world.num_tracks=40",
    "world.num_episodes=8",
    "world.num_listeners=40",
    "world.clip_duration_s=1.0",
    "features.spectrogram.record_s=1.0",
    "features.user_columns=[country,age_band]",
    "datamodule.crop_s=0.5",
    "datamodule.max_length=30",
    "datamodule.max_tokens=1024",
    "user_tower.num_layers=1",
    "evaluation.min_users=2",
    "evaluation.tuning.max_trials=0",
    "trainer.max_epochs=2",
    "trainer.validate_every_epochs=1",
    "trainer.progress=false",
    "promote=true",
)
EXPORT = ("export.variants=[]", "evaluation.min_users=2", "promote=true")
"""Overrides for an export of the small world. The int8 and float16 variants would take half a minute and are left
out.
"""
STARTS_PROCESSES = "trainer=ddp"
"""Lightning starts the further processes by repeating the command line of the first."""


def environment() -> dict[str, str]:
    """Returns this process's environment, without the variables of the test runner and of wandb, whose runs would go to
    this process's service.
    """
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return {**own, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def towers(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end: in this process, which has imported torch, unless the command starts others itself."""
    if STARTS_PROCESSES in arguments:
        return apart(folder, *arguments)
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err), patch.dict(os.environ, environment()):
        try:
            code = main(list(arguments))
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def apart(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "towers", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, env=environment(), check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def ok(folder: Path, *arguments: str) -> str:
    """Runs a command that must succeed, and returns its output."""
    done = towers(folder, *arguments)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return done.stdout


def refused(folder: Path, *arguments: str) -> str:
    """Runs a command that must end with exit code 2 and one line, and returns the line."""
    return the_line(towers(folder, *arguments))


def the_line(done: subprocess.CompletedProcess[str]) -> str:
    """Returns the one line of standard error that a caller's mistake (exit code 2) prints."""
    assert done.returncode == ExitCode.CALLER, done.stderr[-3000:] + done.stdout[-1000:]
    (line,) = done.stderr.strip().splitlines()
    return line


def kill_when(folder: Path, ready: Callable[[], bool], *arguments: str) -> bool:
    """Starts a command and kills it, with no chance to tidy up, once `ready()` holds.

    Returns:
        Whether it was killed before its end.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "towers", *arguments],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if ready():
            process.kill()
            process.wait()
            return True
        time.sleep(0.002)
    process.kill()
    process.wait()
    return False


def run_of(folder: Path) -> str:
    """Returns the run that the demo in a folder trained, evaluated and exported; others may have been trained since."""
    return next(str(path.parent.relative_to(folder)) for path in folder.glob("runs/demo/*/evaluation-test"))
