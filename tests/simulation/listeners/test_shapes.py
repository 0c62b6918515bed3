"""A short log passes through the planted world, a fit and a rollout with every shape and type checked by the hook."""

import numpy as np
import pytest

from tests.simulation.listeners.conftest import QUICK
from towers.contract.durations import DAY_US
from towers.simulation.listeners.fitting import fit
from towers.simulation.listeners.rollout import listen
from towers.simulation.planted.listeners import planted_log
from towers.simulation.planted.world import START_US, Plant, PlantedWorld


@pytest.mark.slow
def test_a_short_log_is_invented_fitted_and_continued() -> None:
    world = PlantedWorld(Plant(num_listeners=32, num_days=8, num_tracks=30, num_episodes=5, drift=1.0))
    # The first day alone: a few plays of each.
    world.end_us = START_US + DAY_US
    log, _ = planted_log(world)
    simulator = fit(log, world.space, QUICK, world.end_us)
    heard = listen(simulator.central, simulator.space, log, world.end_us, world.end_us + DAY_US // 3, 0)
    assert len(log) > 20
    assert heard.user_ids == log.user_ids
    assert np.isfinite(heard.fraction).all()
