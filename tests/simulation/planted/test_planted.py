"""The planted world follows its settings: tastes of the demo's audience, satiation and returns."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import kstest

from towers.contract.durations import DAY_US, HOUR_US
from towers.simulation.listeners.rollout import lived
from towers.simulation.listeners.session_log import COLUMNS
from towers.simulation.planted.listeners import CONTEXTS, PlantedListeners, planted_log
from towers.simulation.planted.returns import MEMORY, SESSIONS_A_DAY, SHAPE, ByHazard, ByWeibull, next_scores
from towers.simulation.planted.world import START_US, Plant, PlantedWorld

SMALL = Plant(num_listeners=40, num_days=3, num_tracks=80, num_episodes=10)


@pytest.fixture(scope="module")
def world() -> PlantedWorld:
    return PlantedWorld(replace(SMALL, satiation=0.4, drift=1.5))


@pytest.fixture
def listeners(world: PlantedWorld) -> PlantedListeners:
    """Listeners in a session each, after some plays."""
    listeners, rows = PlantedListeners(world, 1), np.arange(40)
    listeners.begin(rows, np.full(40, START_US + 2 * DAY_US))
    for _ in range(4):
        listeners.react(rows, listeners.choose(rows))
        listeners.go_on(rows)
    return listeners


def test_tastes_are_those_of_the_demo_s_audience(world: PlantedWorld) -> None:
    rows, days = np.array([0, 7, 39]), np.array([0.0, 1.5, 3.0])
    found = world.affinity(rows, START_US + (days * DAY_US).astype(np.int64))
    for row, day, affinity in zip(rows.tolist(), days.tolist(), found, strict=True):
        expected = world.audience.affinity(world.repertoire, row, day / 3)
        np.testing.assert_allclose(affinity, expected, rtol=1e-3, atol=1e-3)


def test_without_drift_tastes_stay() -> None:
    still = PlantedWorld(SMALL)
    rows = np.arange(40)
    begin, end = (still.affinity(rows, np.full(40, time)) for time in (START_US, still.end_us))
    np.testing.assert_array_equal(begin, end)


def test_near_in_the_space_is_near_in_taste(world: PlantedWorld) -> None:
    vectors, places = world.space.vectors, world.repertoire.places - world.repertoire.places.mean(axis=0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    cosines = places @ places.T / np.outer(*(np.linalg.norm(places, axis=1),) * 2)
    np.testing.assert_allclose(vectors @ vectors.T, cosines, atol=1e-5)


def test_a_unit_of_satiation_is_worth_what_was_planted(listeners: PlantedListeners) -> None:
    rows, content = np.arange(40), np.arange(40)
    satiated = logit(listeners.skip_chance(rows, content[:, None])[:, 0])
    satiation = listeners.state.satiation_of(rows, content)
    assert satiation.max() > 1.0
    # Two hours on 1/e of it is left, and nothing else of the log-odds has changed.
    listeners.state.at(rows, listeners.state.now_us + 2 * HOUR_US)
    fallen = satiated - logit(listeners.skip_chance(rows, content[:, None])[:, 0])
    np.testing.assert_allclose(fallen, 0.4 * satiation * (1.0 - np.exp(-1.0)), rtol=1e-4, atol=1e-5)


def test_choices_are_as_often_as_they_attract(world: PlantedWorld, listeners: PlantedListeners) -> None:
    rows = np.zeros(1, int)
    chance = np.exp(listeners.attraction(rows, np.arange(90)[None])[0]) / 90
    assert chance.sum() == pytest.approx(1.0, abs=1e-3)
    chosen = np.bincount([int(listeners.choose(rows)[0]) for _ in range(3000)], minlength=90) / 3000
    assert abs(chosen - chance).max() < 5 * np.sqrt(chance.max() * (1 - chance.max()) / 3000)
    released = world.space.released_us <= listeners.state.now_us[0]
    assert chosen[~released].sum() == 0.0


@pytest.mark.unhooked
def test_the_same_seed_is_the_same_log(world: PlantedWorld) -> None:
    one, again, other = (planted_log(world, seed)[0] for seed in (0, 0, 1))
    assert len(one) > 200
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert len(one) != len(other)
    assert one.contexts == CONTEXTS
    assert (one.start_us >= START_US).all()


@pytest.mark.unhooked
def test_listeners_who_were_restored_go_on_as_before(world: PlantedWorld) -> None:
    _, there = planted_log(world)
    listeners = PlantedListeners.drawn(there, 50, 4)
    kept, span = listeners.arrays(), (world.end_us, world.end_us + DAY_US)
    names = tuple(str(row) for row in range(50)), CONTEXTS, ("phone",) * 4
    first = lived(listeners, *span, *names)
    listeners.restore(kept)
    again = lived(listeners, *span, *names)
    assert len(first) > 50
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


@pytest.mark.unhooked
def test_drawn_listeners_are_as_they_were_and_leave_the_source_alone(world: PlantedWorld) -> None:
    _, there = planted_log(world)
    before = there.state.arrays()["plays"].copy()
    listeners = PlantedListeners.drawn(there, 40, 4)
    assert sorted(listeners.who.tolist()) == list(range(40))
    np.testing.assert_array_equal(listeners.state.plays, there.state.plays[listeners.who])
    rows = np.arange(40)
    listeners.begin(rows, np.full(40, world.end_us))
    listeners.react(rows, listeners.choose(rows))
    np.testing.assert_array_equal(there.state.plays, before)


def test_weibull_gaps_are_weibull_and_remember() -> None:
    rng, law = np.random.default_rng(0), ByWeibull()
    zeros, ended = np.zeros(4000), np.full(4000, START_US)
    score = rng.normal(size=4000)
    gaps, scores = [], []
    for _ in range(2):
        score = next_scores(score, rng)
        gaps.append((law.draw(np.ones(4000), score, zeros, ended, ended, rng) - ended) / HOUR_US)
        scores.append(score)
    assert kstest(gaps[1], "weibull_min", (SHAPE, 0.0, 24.0 / SESSIONS_A_DAY)).pvalue > 0.01
    assert np.corrcoef(*scores)[0, 1] == pytest.approx(MEMORY, abs=0.04)
    # A listener who has stayed away for a day comes after it.
    later = law.draw(np.ones(4000), next_scores(score, rng), zeros, ended, ended + DAY_US, rng)
    assert (later > ended + DAY_US).all()


def test_a_skipped_session_delays_the_return() -> None:
    law, ended = ByHazard(loss=1.5), np.full(2000, START_US)
    waits = [
        law.draw(np.ones(2000), np.zeros(2000), np.full(2000, share), ended, ended, np.random.default_rng(0)) - ended
        for share in (0.0, 1.0)
    ]
    assert np.median(waits[1]) > 2 * np.median(waits[0])
    assert (waits[1] > waits[0]).all()
