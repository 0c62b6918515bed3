"""Runs `towers` as a user does: in a process of its own, in a folder of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

SMALL_WORLD = (
    "world.num_tracks=40",
    "world.num_episodes=8",
    "world.num_listeners=40",
    "world.clip_duration_s=1.0",
    "features.spectrogram.record_s=1.0",
    "datamodule.crop_s=0.5",
    "datamodule.max_tokens=1024",
    "evaluation.min_users=2",
    "trainer.max_epochs=2",
    "trainer.validate_every_epochs=1",
    "trainer.progress=false",
)


def environment() -> dict[str, str]:
    """The process's own, without what the test runner adds."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def towers(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "towers", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, env=environment(), check=False,
    )  # fmt: skip


def ok(folder: Path, *arguments: str) -> str:
    """Runs a command that must succeed; gives what it printed."""
    done = towers(folder, *arguments)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    return done.stdout


def refused(folder: Path, *arguments: str) -> str:
    """Runs a command that must end with exit code 2 and one line; gives the line."""
    done = towers(folder, *arguments)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr[-3000:] + done.stdout[-1000:]
    assert len(lines) == 1, done.stderr
    return lines[0]


def kill_when(folder: Path, ready, *arguments: str) -> bool:
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
