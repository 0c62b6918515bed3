"""Counts from logged plays equal those that an agent saw in its training."""

import numpy as np
import pytest

from tests.simulation.environment import small
from towers.policies.agent.heard import RECENT, Heard, seen_of_plays
from towers.simulation.environment.making import make_world
from towers.simulation.environment.policies import RandomCandidates
from towers.simulation.listeners.state import RECENT as OF_STATE
from towers.training.agent.serving import seen_of

ALL = np.arange(3)


@pytest.fixture(scope="module")
def told():
    """Plays of new listeners in a simulated world, and the world's observations before each step."""
    world = make_world(small.simulator(), len(ALL), days=60.0, slate_size=3, num_candidates=15, seed=2)
    world.reset(ALL, np.random.default_rng(5))
    policy = RandomCandidates(world.space, 3)
    policy.begin(0)
    steps = []
    for _ in range(40):
        seen, now_us = seen_of(world.observe(ALL)), world.now_us.copy()
        step = world.step(ALL, policy.act(seen))
        steps.append((seen, now_us, step))
        if (step.terminated | step.truncated).any():
            break
    return world.space, steps


def test_as_much_is_remembered():
    assert RECENT == OF_STATE


@pytest.mark.parametrize("listener", ALL)
def test_it_is_what_the_simulator_tells(told, listener):
    space, steps = told
    assert len(steps) > RECENT, "all that is read one by one has been played"
    for place in (0, 1, 7, len(steps) - 1):
        seen, now_us, _ = steps[place]
        before = steps[:place]
        heard = Heard(
            content=np.array([step.content[listener] for *_, step in before], np.int64),
            start_us=np.array([start_us[listener] for _, start_us, _ in before], np.int64),
            is_skip=np.array([step.parts["skips"][listener] > 0 for *_, step in before], bool),
            position=int(seen["position"][listener]),
        )
        found = seen_of_plays(space, heard, seen["candidates"][listener], int(now_us[listener]))
        for name, value in found.items():
            np.testing.assert_allclose(value[0], seen[name][listener], rtol=1e-5, atol=1e-6, err_msg=name)


def test_without_a_play():
    space = small.space()
    nothing = np.zeros(0, np.int64)
    found = seen_of_plays(
        space, Heard(content=nothing, start_us=nothing, is_skip=np.zeros(0, bool)), np.array([3, -1]), small.UNTIL_US
    )
    assert (found["recent"] == -1).all()
    assert not found["taste"].any()
    assert found["candidate_artist_days"].tolist() == [[-1, -1]]
