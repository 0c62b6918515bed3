"""States of nights, and a watcher that records its calls."""

from datetime import UTC, datetime

from towers.lifecycle.watching.night_state import NightState
from towers.lifecycle.watching.watcher import Watcher


def state_in(folder, **facts):
    """Returns the state of a night of the data set `small` that has just begun, with its folders below `folder`."""
    return NightState(
        data="small",
        experiment="demo",
        started=datetime(2026, 7, 14, 2, 15, tzinfo=UTC),
        root="raw",
        project=None,
        nights=folder / "nights" / "small",
        runs=folder / "runs",
        **facts,
    )


class Noting(Watcher):
    """Records its calls and their states."""

    def __init__(self):
        self.told, self.states = [], []

    def _note(self, told, state):
        self.told.append(told)
        self.states.append(state)

    def ready(self, state):
        self._note("ready", state)

    def begun(self, state):
        self._note("begun", state)

    def step_begun(self, state, step):
        self._note(f"{step.name} begins", state)

    def step_ended(self, state, step):
        self._note(f"{step.name} ends", state)

    def ended(self, state):
        self._note(f"ended: {state.ending}", state)

    def put_back(self, state):
        self._note("put back", state)

    def close(self):
        self.told.append("close")
