"""Uploads what was written offline to Weights & Biases, by wandb's own program, for a limited time."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from towers.lifecycle.watching import wandb_arrived, wandb_links
from towers.training.wandb_runs import tell


def uploaded(folder: Path, run: str, project: str, names: Sequence[str], within_s: float) -> bool:
    """Uploads a run, looks whether its artifacts have come to the server, and then links what belongs into a registry.
    Says what became of it.

    Args:
        folder: of the runs.
        run: name of the run's folder.
        project: on the server.
        names: of the artifacts that the run has logged, each with an alias (`NAME:ALIAS`).
        within_s: seconds that each of the three may take.

    Returns:
        Whether all of the run is on the server.
    """
    files = folder / run
    why = _done(folder, ("wandb", "sync", str(files.resolve())), within_s)
    marks = list(files.glob("*.wandb.synced"))  # wandb leaves it at the end, and at no other time
    if marks and names:
        why = _done(folder, (wandb_arrived.__name__, project, *names), within_s)
        if why is not None:  # it is to be synced once more, with the copies of its files
            for mark in marks:
                mark.unlink()
            marks = []
    if not marks:
        tell(f"not uploaded ({why or 'wandb sync did not say why'}); `wandb sync {files}` uploads it later")
        return False
    tell(f"uploaded; files in {files}")
    if wandb_links.kept(folder):
        why = _done(folder, (wandb_links.__name__, str(folder.resolve()), project), within_s)
        if why is not None:
            tell(f"{folder / wandb_links.FILE}: {why}")
    return True


def _done(folder: Path, module: Sequence[str], within_s: float) -> str | None:
    """Runs a module of Python to its end, or ends it with all that it has started; tells what it prints of links.

    Args:
        folder: of the runs; wandb writes logs of its own there.
        module: its name and arguments.
        within_s: seconds.

    Returns:
        Why it did not come to a good end, in one line; null where it did.
    """
    with subprocess.Popen(
        [sys.executable, "-m", *module], cwd=folder.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            return f"it took more than {within_s:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    lines = said.strip().splitlines()
    for line in lines:
        if " is linked to " in line:
            tell(line)
    if process.returncode == 0:
        return None
    return lines[-1] if lines else f"exit code {process.returncode}"
