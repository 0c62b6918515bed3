"""Record of the listeners shown in runs of Weights & Biases: a file beside the runs, which is never uploaded.

The runs themselves name listeners by a place in a version. `towers forget` finds listeners by this file.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from towers.manifest import read_json, write_json
from towers.training.wandb_runs import FOLDER

FILE: Final = "shown.json"
COPIES: Final = "copies"
"""Folder beside the runs with copies of artifacts' files that wait for their upload, a folder for each run."""


def note(folder: Path, run_id: str, user_ids: Sequence[str]) -> None:
    """Adds listeners to those that a run shows: a continued night leaves both folders.

    Args:
        folder: folder of the runs.
        run_id: id of the run.
        user_ids: ids of the listeners.
    """
    shown = _shown(folder)
    write_json(folder / FILE, {"runs": {**shown, run_id: [*dict.fromkeys([*shown.get(run_id, ()), *user_ids])]}})


def runs_with(nights: Path, user_ids: Sequence[str]) -> Iterator[tuple[Path, str, int]]:
    """Finds runs that show some listeners.

    Args:
        nights: folder of the records of all data sets.
        user_ids: ids of the listeners.

    Yields:
        The folder of the runs, the run's id, and how many of the listeners it shows.
    """
    for path in sorted(nights.glob(f"[!.]*/{FOLDER}/{FILE}")):
        for run_id, shown in _shown(path.parent).items():
            if count := len(set(shown).intersection(user_ids)):
                yield path.parent, run_id, count


def remove_run(folder: Path, run_id: str) -> None:
    """Removes all local files of a run, and last the record of whom it shows.

    Args:
        folder: folder of the runs.
        run_id: id of the run.
    """
    for path in (*sorted(path.parent for path in folder.glob(f"*run-*/run-{run_id}.wandb")), folder / COPIES / run_id):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    left = {name: shown for name, shown in _shown(folder).items() if name != run_id}
    write_json(folder / FILE, {"runs": left})


def _shown(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    return dict(read_json(path)["runs"]) if path.exists() else {}
