"""Wrongly fitted choices are corrected by free runs."""

from dataclasses import replace

import numpy as np
import pytest

from tests.simulation.listeners.conftest import QUICK
from towers.contract.durations import DAY_US
from towers.simulation.listeners.choice_features import OF_NEW
from towers.simulation.listeners.fitting import fit
from towers.simulation.listeners.model import ListenerModel
from towers.simulation.listeners.rollout import listen
from towers.simulation.listeners.running_free import corrected
from towers.simulation.planted.listeners import planted_log
from towers.simulation.planted.world import Plant, PlantedWorld

pytestmark = pytest.mark.unhooked


@pytest.mark.slow
def test_a_leaning_to_the_popular_is_taken_back() -> None:
    """A weight that was too high is lowered, and choices are as popular as the real ones again."""
    world = PlantedWorld(Plant(num_listeners=120, num_days=6, num_tracks=80, num_episodes=10))
    log, _ = planted_log(world)
    simulator = fit(log, world.space, replace(QUICK, members=0, free_rounds=0), world.end_us)
    model, space, end_us, days = simulator.central, simulator.space, world.end_us, 3.0
    wrong = model.choosing.new.copy()
    wrong[:, OF_NEW.index("popularity")] += 2.0
    wrong = replace(model, choosing=replace(model.choosing, new=wrong))
    choosing = corrected(wrong, space, log, end_us, days, rounds=2, seed=0, progress=lambda _: None)
    begin_us = end_us - int(days * DAY_US)
    before, real = log.between(0, begin_us), log.between(begin_us, end_us)

    def popularity(model: ListenerModel) -> float:
        runs = [listen(model, space, before, begin_us, end_us, seed).content for seed in range(3, 6)]
        return float(space.log_popularity[np.concatenate(runs)].mean())

    wanted = float(space.log_popularity[real.content].mean())
    too_high, mended = popularity(wrong) - wanted, popularity(replace(wrong, choosing=choosing)) - wanted
    assert too_high > 0.1
    assert abs(mended) < too_high / 2
