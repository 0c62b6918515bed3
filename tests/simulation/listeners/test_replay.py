"""A log replayed for all listeners together gives the same state as play by play."""

import numpy as np
import pytest

from tests.simulation.listeners.conftest import Fitted
from towers.simulation.listeners.replay import PLACES, record, replay
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.state import Drift, ListenerState

pytestmark = pytest.mark.unhooked
"""The tests run without the hook, which would check thousands of small steps; `test_shapes.py` has a short log
checked.
"""


def step_by_step(log: SessionLog, state: ListenerState) -> None:
    """Replays slowly, one play of one listener after the other."""
    for play in range(len(log)):
        row = log.listener[play : play + 1]
        if log.position[play] == 0:
            state.begin_session(
                row, log.start_us[play : play + 1], log.context[play : play + 1], log.device[play : play + 1]
            )
        state.at(row, log.start_us[play : play + 1])
        state.play(
            row, log.content[play : play + 1], log.outcome[play : play + 1], log.fraction[play : play + 1]
        )  # fmt: skip


def test_a_replay_is_play_by_play(fitted: Fitted) -> None:
    log = fitted.log.taken(np.isin(fitted.log.listener, np.arange(12)))
    slow = ListenerState(fitted.world.space, len(log.user_ids), Drift(), PLACES)
    step_by_step(log, slow)
    fast = replay(log, fitted.world.space, Drift()).arrays()
    for name, value in slow.arrays().items():
        np.testing.assert_allclose(fast[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_satiation_is_plays_by_their_fraction_that_fade(fitted: Fitted) -> None:
    world, log = fitted.world, fitted.log
    busiest = int(np.bincount(log.listener).argmax())
    own = log.taken(log.listener == busiest)
    state = replay(own, world.space, Drift(recovery_hours=3.0))
    at_us = int(own.start_us[-1]) + 7_200_000_000
    state.at(np.array([busiest]), np.array([at_us]))
    left = own.fraction * np.exp(-(at_us - own.start_us) / 3_600_000_000 / 3.0)
    expected = np.bincount(world.space.region[own.content], left, len(world.space.region_names))
    content = np.array([np.flatnonzero(world.space.region == region)[0] for region in np.unique(world.space.region)])
    found = state.satiation_of(np.array([busiest]), content[None])[0]
    np.testing.assert_allclose(found, expected[world.space.region[content]], rtol=1e-4, atol=1e-6)


def test_what_is_read_before_a_play_knows_nothing_of_it(fitted: Fitted) -> None:
    log, space = fitted.log, fitted.world.space
    other = SessionLog(**{**vars_of(log), "outcome": log.outcome.copy(), "fraction": log.fraction.copy()})
    last = np.append(log.listener[1:] != log.listener[:-1], True)
    other.outcome[last], other.fraction[last] = 0, 0.01
    one, changed = (record(plays, space, Drift()) for plays in (log, other))
    np.testing.assert_array_equal(one.of_content, changed.of_content)
    np.testing.assert_array_equal(one.of_moment, changed.of_moment)
    assert (one.leave != changed.leave).any()


def vars_of(log: SessionLog) -> dict:
    return {name: getattr(log, name) for name in log.__dataclass_fields__}
