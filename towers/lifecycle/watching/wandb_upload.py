"""Upload of offline runs to Weights & Biases by wandb's own program, within a time limit."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from towers.lifecycle.watching import wandb_arrived, wandb_links
from towers.training.wandb_runs import tell


def uploaded(folder: Path, run: str, project: str, names: Sequence[str], within_s: float) -> bool:
    """Uploads a run, checks that its artifacts are on the server, and then makes the links to a registry. Prints the
    result.

    Args:
        folder: folder of the runs.
        run: name of the run's folder.
        project: project on the server.
        names: names of the artifacts that the run has logged, each with an alias (`NAME:ALIAS`).
        within_s: seconds that each of the three steps may take.

    Returns:
        True if all of the run is on the server.
    """
    files = folder / run
    why = _done(folder, ("wandb", "sync", str(files.resolve())), within_s)
    marks = list(files.glob("*.wandb.synced"))  # wandb writes it at the end only
    if marks and names:
        why = _done(folder, (wandb_arrived.__name__, project, *names), within_s)
        if why is not None:  # it must be synced once more, with the copies of its files
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
    """Runs a Python module to its end, or kills it with all its children; prints its lines about links.

    Args:
        folder: folder of the runs; wandb writes its own logs there.
        module: name and arguments of the module.
        within_s: time limit in seconds.

    Returns:
        Why it failed, in one line; null where it succeeded.
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
