"""Corrections by free runs."""

from tests.simulation.environment.small import UNTIL_US, log, simulator
from towers.simulation.listeners.running_free import corrected


def test_few_choices_correct_nothing_and_say_so():
    said: list[str] = []
    central, space = simulator().central, simulator().space
    found = corrected(central, space, log(), UNTIL_US, days=3.0, rounds=2, seed=0, progress=said.append)
    assert found is central.choosing
    assert said == ["fewer than 200 choices of each kind: weights stay as they were fitted one choice ahead"]
