"""The judged twin of a run, found by reading folders of runs; does not import torch."""

from pathlib import Path

from towers.assembly.prepared import until_of
from towers.config.composing import config_of_run
from towers.config.signature import network_digest
from towers.manifest import read_json
from towers.training.run_folder import ENVIRONMENT_FILE, FINISHED


def twin_of(folder: Path) -> Path | None:
    """Finds the judged twin of a run that was trained on its validation period; null where there is none.

    It is the run that it was warm-started from, if that was trained on the same store up to validation. Else it is a
    finished run beside it of the same network, objective and placement that was not trained on validation: preferably
    of the same seed, and among those the newest.
    """
    own = config_of_run(folder)
    began = own.get("warm_start", {}).get("checkpoint")
    if began is not None and _is_twin(Path(began), folder):
        return Path(began)
    wanted, twins = network_digest(own), []
    for finished in folder.parent.glob(f"[!.]*/{FINISHED}"):
        config = config_of_run(finished.parent)
        if until_of(config) == "validation" and network_digest(config) == wanted:
            twins.append((config.seed == own.seed, finished.stat().st_mtime_ns, finished.parent))
    return max(twins)[-1] if twins else None


def _is_twin(folder: Path, run: Path) -> bool:
    """Returns whether a run was trained on the store of another, and not on validation."""
    if not (folder / FINISHED).exists():
        return False
    is_same = read_json(folder / ENVIRONMENT_FILE)["store"] == read_json(run / ENVIRONMENT_FILE)["store"]
    return is_same and until_of(config_of_run(folder)) == "validation"
