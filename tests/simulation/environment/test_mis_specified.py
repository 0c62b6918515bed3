"""Worlds that differ from the simulator, and one without satiation and drift."""

from dataclasses import replace

import numpy as np
import pytest

from tests.simulation.environment.small import log, simulator
from towers.errors import UserError
from towers.simulation.environment.making import make_world
from towers.simulation.environment.mis_specified import (
    NAMES,
    STATED_SATIATION,
    Control,
    WeibullReturning,
    mis_specified,
    mis_specified_simulator,
)
from towers.simulation.environment.policies import Nearest
from towers.simulation.environment.value import value_of
from towers.simulation.listeners import features, response
from towers.simulation.planted.world import Plant

MODEL = simulator().central
AT = (features.OF_CONTENT + features.OF_MOMENT).index("satiation")


def effect(model) -> float:
    skip = model.response.chances["skip"]
    return float(skip.weights[AT] / skip.scale[AT])


@pytest.mark.parametrize(("name", "factor"), [("satiation_half", 0.5), ("satiation_double", 2.0)])
def test_satiation_is_scaled_or_stated(name: str, factor: float) -> None:
    skip = MODEL.response.chances["skip"]
    for found in (0.4, -0.1):
        weights = skip.weights.copy()
        weights[AT] = found * skip.scale[AT]
        chances = MODEL.response.chances | {"skip": replace(skip, weights=weights)}
        fitted = replace(MODEL, response=replace(MODEL.response, chances=chances))
        stated = 0.0 if found > 0 else factor * STATED_SATIATION
        assert effect(mis_specified(fitted, name)) == pytest.approx(factor * found + stated)
    changed, names = mis_specified(MODEL, name).response.chances, response.names(("0", "1"))
    for of, chance in changed.items():
        of_satiation = np.array(["satiation" in column for column in names])
        before = MODEL.response.chances[of].weights[: len(names)]
        after = chance.weights[: len(names)]
        np.testing.assert_array_equal(after[~of_satiation], before[~of_satiation])
        is_product = of_satiation & (np.arange(len(names)) != AT)
        np.testing.assert_allclose(after[is_product], factor * before[is_product])


def test_gaps_are_of_the_weibull_distribution_that_is_stated() -> None:
    law = mis_specified(MODEL, "weibull").returning
    assert isinstance(law, WeibullReturning)
    rng, ended = np.random.default_rng(0), np.full(20_000, 10**15)
    fitted = MODEL.returning.sessions_a_day(np.ones(1))[0]
    for pace in (0.5, 2.0):
        days = (law.draw(np.full(20_000, pace), ended, ended, rng) - ended) / 86_400e6
        assert days.mean() == pytest.approx(1.0 / (pace * fitted), rel=0.05)
        assert days.std() / days.mean() == pytest.approx(1.26, rel=0.05)
    # A listener who has stayed away comes later than that, and still later with a falling hazard.
    away = ended + 5 * 86_400_000_000
    left = (law.draw(np.ones(20_000), ended, away, rng) - away) / 86_400e6
    assert left.mean() > 1.0 / fitted
    assert (left > 0).all()


def test_sessions_a_day_are_those_that_are_drawn() -> None:
    rng, pace, day_us = np.random.default_rng(0), np.array([0.3, 1.0, 3.0]), 86_400_000_000
    now, came = np.full(3, 10**15), np.zeros(3)
    for _ in range(1_000):
        now = np.minimum(MODEL.returning.draw(pace, now, now, rng), now + 100 * day_us)
        came += 1
    assert came / ((now - 10**15) / day_us) == pytest.approx(MODEL.returning.sessions_a_day(pace), rel=0.1)


def test_skips_make_listeners_come_back_later_by_satisfaction_and_tastes_move_faster_by_drift() -> None:
    keenness = mis_specified(MODEL, "satisfaction").returning.keenness(np.array([0.0, 0.5, 1.0]))
    assert keenness[0] > keenness[1] > keenness[2]
    assert keenness[0] / keenness[2] == pytest.approx(np.exp(1.5 * (0.875 - 0.075)))
    drift = mis_specified(MODEL, "drift").drift
    assert (drift.slow_rate, drift.fast_rate) == (4 * MODEL.drift.slow_rate, 2 * MODEL.drift.fast_rate)


@pytest.mark.slow
def test_every_world_serves() -> None:
    some = log().of_listeners(np.arange(40) < 4)
    for name in NAMES:
        changed = mis_specified_simulator(simulator(), name)
        made = make_world(changed, 4, log=some, member=0, days=0.5, slate_size=4, num_candidates=20)
        assert made.listeners.state.drift == changed.members[0].drift
        assert value_of(Nearest(made.space, 4), made, [0]).parts["streams"].sum() > 0
    with pytest.raises(UserError, match="there is no world tired; there are satiation_half"):
        mis_specified(MODEL, "tired")


def test_the_control_has_no_satiation_and_its_log_can_be_fitted_to() -> None:
    control = Control(plant=Plant(num_listeners=12, num_days=3, num_tracks=40, num_episodes=5))
    made = control.world(8, days=1.0, slate_size=4, num_candidates=20)
    made.reset(np.arange(8), np.random.default_rng(0))
    rows, content = np.arange(8), np.arange(8)[:, None] * 3
    before = made.listeners.skip_chance(rows, content)
    made.listeners.state.satiation[:] = 5.0
    np.testing.assert_array_equal(made.listeners.skip_chance(rows, content), before)
    assert made.space.plays.sum() == len(control.log)
    assert value_of(Nearest(made.space, 4), made, [0]).parts["streams"].sum() > 0
