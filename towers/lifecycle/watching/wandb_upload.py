"""Uploads what was written offline to Weights & Biases, by wandb's own program, for a limited time."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from towers.lifecycle.watching import wandb_links
from towers.training.wandb_runs import tell


def uploaded(folder: Path, run: str, project: str, within_s: float) -> bool:
    """Uploads a run, and then links what belongs into a registry. Says what became of it.

    Args:
        folder: of the runs.
        run: name of the run's folder.
        project: on the server.
        within_s: seconds that each of the two may take.

    Returns:
        Whether all of the run is on the server.
    """
    files = folder / run
    why = _done(folder, ("wandb", "sync", str(files.resolve())), within_s)
    if not list(files.glob("*.wandb.synced")):  # wandb leaves it at the end, and at no other time
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
    if process.returncode == 0:
        for line in lines:
            if " is linked to " in line:
                tell(line)
        return None
    return lines[-1] if lines else f"exit code {process.returncode}"
