"""The run that has not trained on the validation period, with which the chance of a listen is fitted."""

from pathlib import Path

from towers.assembly.run import Run, load_run
from towers.assembly.twin import twin_of
from towers.errors import DataLacks


def judged_run(run: Run, stores: Path) -> Run:
    """Returns the run on the store that it was trained on, or its judged twin.

    The twin is returned for a run that was trained on validation, too; `twin_of` finds it.

    Args:
        run: run trained on any period, with vectors of any store.
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
