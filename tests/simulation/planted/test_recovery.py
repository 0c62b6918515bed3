"""A fit recovers planted values; with a search for speeds it is a long proof, and `planted_worlds` is the benchmark."""

from dataclasses import replace

import numpy as np
import pytest

from towers.simulation.listeners.fitting import FitSettings, fit, gaps_of
from towers.simulation.listeners.replay import record
from towers.simulation.listeners.response import fit_response
from towers.simulation.listeners.returning import fit_returning
from towers.simulation.listeners.state import Drift
from towers.simulation.planted.listeners import planted_log
from towers.simulation.planted.world import START_US, Plant, PlantedWorld

pytestmark = pytest.mark.unhooked

FEW = Plant(num_listeners=120, num_days=12, num_tracks=110, num_episodes=15)


def test_planted_satiation_is_found_where_its_recovery_is_known() -> None:
    world = PlantedWorld(replace(FEW, satiation=0.6, num_listeners=260))
    log, _ = planted_log(world)
    space = world.space.counted(log.content, START_US, world.end_us)
    seen = record(log, space, Drift(recovery_hours=2.0))
    response = fit_response(log, space, seen.of_content, seen.of_moment, np.ones(len(log.user_ids)))
    read = response.design(seen.of_content, seen.of_moment, log.context)
    assert response.effect("satiation", read) == pytest.approx(0.6, rel=0.2)


def test_the_delay_after_skips_is_found_where_it_is_planted() -> None:
    found = {}
    for returns in ("hazard", "satisfaction"):
        world = PlantedWorld(replace(FEW, returns=returns))
        log, there = planted_log(world)
        ended_us = log.start_us + (log.fraction * world.space.duration_ms[log.content] * 1000.0).astype(np.int64)
        assert len(there.who) == len(log.user_ids)
        factors = fit_returning(*gaps_of(log, ended_us, world.end_us), np.ones(len(log.user_ids))).satisfaction
        found[returns] = np.log(factors[-1] / factors[0])
    # Of the mean shares of the outer bins, about .05 and .9: what is planted is -1.5 times the difference.
    assert found["satisfaction"] == pytest.approx(-1.3, abs=0.25)
    assert abs(found["hazard"]) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strength", "hours"),
    [
        # The recovery time is the likeliest of many, on the same plays, so a little is found where there is nothing.
        pytest.param(
            0.0, 2.0, marks=pytest.mark.xfail(reason="finds .04 (-.02 to .07), and .03 is allowed", strict=True)
        ),
        (0.3, 2.0),
        (0.6, 2.0),
        (0.3, 24.0),
    ],
)
def test_satiation_and_its_recovery_are_found(strength: float, hours: float) -> None:
    world = PlantedWorld(Plant(num_listeners=600, satiation=strength, recovery_hours=hours))
    log, _ = planted_log(world)
    simulator = fit(log, world.space, FitSettings(), world.end_us)
    seen = record(log, simulator.space, simulator.central.drift)
    effects = []
    for model in (simulator.central, *simulator.members):
        read = model.response.design(seen.of_content, seen.of_moment, log.context)
        effects.append(model.response.effect("satiation", read))
    if strength:
        assert effects[0] == pytest.approx(strength, rel=0.2)
        assert simulator.central.drift.recovery_hours == pytest.approx(hours, rel=0.3)
    else:
        assert abs(effects[0]) < 0.03
        assert min(effects) <= 0.0 <= max(effects)
