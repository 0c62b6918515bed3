"""A simulator that is fitted by the command line once for all modules of a process."""

import pytest

from tests.command_line import ok
from tests.simulation.listeners.logs import EXPORT

FIT = (
    f"export='{EXPORT}'", "fit.members=1", "fit.min_listeners=20", "fit.num_choices=500", "fit.drift_listeners=10",
    "held_out.share=0.5", "fit.slow_rates=[0.02]", "fit.fast_rates=[0.2]",
)  # fmt: skip


@pytest.fixture(scope="session")
def fitted_listeners(tmp_path_factory, listened_world):
    """A folder with a fitted simulator, and the fit's output. Tests do not change the folder."""
    folder = tmp_path_factory.mktemp("fitted")
    return folder, ok(folder, "simulate", "action=fit", f"store={listened_world.store}", *FIT)
