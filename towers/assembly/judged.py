"""The run whose validation period nobody has trained on: what the chance of a listen is fitted with."""

from pathlib import Path

from towers.assembly.prepared import until_of
from towers.assembly.run import Run, load_run
from towers.config.composing import config_of_run
from towers.config.signature import network_digest
from towers.errors import DataLacks
from towers.manifest import read_json
from towers.training.run_folder import ENVIRONMENT_FILE, FINISHED


def judged_run(run: Run, stores: Path) -> Run:
    """The run on the store that it was trained on; where it was trained on validation, too, its judged twin.

    The twin is the run that it was warm-started from, if that was trained on the same store up to validation. Else it
    is a finished run beside it of the same network, objective and placement that was not trained on validation: of
    several one of the same seed, then the newest.

    Args:
        run: whatever it was trained on, and whosever vectors it gives.
        stores: folder of all prepared stores.

    Raises:
        DataLacks: there is no twin.
    """
    if run.until == "validation":
        is_own = run.store.fingerprint == run.trained_on.fingerprint
        return run if is_own else load_run(run.folder, stores, is_compact=True)
    twin = twin_of(run.folder)
    if twin is None:
        raise DataLacks(
            f"the run was trained on its validation period (train_until={run.until}), and there is no run of the same "
            "network beside it that was not; train that one, too (train_until=validation)"
        )
    return load_run(twin, stores, is_compact=True)


def twin_of(folder: Path) -> Path | None:
    """Finds the judged twin of a finished run that was trained on its validation period, as `judged_run` has it; null
    where there is none."""
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
    """Whether a run was trained on the store of another, and not on validation."""
    if not (folder / FINISHED).exists():
        return False
    is_same = read_json(folder / ENVIRONMENT_FILE)["store"] == read_json(run / ENVIRONMENT_FILE)["store"]
    return is_same and until_of(config_of_run(folder)) == "validation"
