"""A small planted world and a simulator that was fitted to its log, made once for all tests."""

from typing import NamedTuple

import pytest

from towers.simulation.listeners.fitting import FitSettings, fit
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.planted.listeners import planted_log
from towers.simulation.planted.world import Plant, PlantedWorld

QUICK = FitSettings(
    members=1, min_listeners=10, num_choices=200, slow_rates=(0.02,), fast_rates=(0.2,), recovery_hours=(2.0, 2.0)
)


class Fitted(NamedTuple):
    """A world, its log, and the simulator that was fitted to it."""

    world: PlantedWorld
    log: SessionLog
    simulator: Simulator


@pytest.fixture(scope="session")
def fitted() -> Fitted:
    """A simulator of forty listeners in three days."""
    world = PlantedWorld(Plant(num_listeners=40, num_days=3, num_tracks=50, num_episodes=10, satiation=0.5))
    log, _ = planted_log(world)
    return Fitted(world, log, fit(log, world.space, QUICK, world.end_us))
