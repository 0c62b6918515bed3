"""Choices: a conditional logit whose planted weights are recovered, and an unbiased sample of candidates."""

import numpy as np
import pytest

from towers.simulation.listeners.choosing import Choosing, fit_choice
from towers.simulation.listeners.logistic import MixedLogistic
from towers.simulation.listeners.space import Space
from towers.simulation.planted.world import Plant, PlantedWorld


@pytest.fixture(scope="module")
def space() -> Space:
    world = PlantedWorld(Plant(num_listeners=4, num_tracks=170, num_episodes=30, num_days=10))
    plays = np.random.default_rng(0).permutation(np.geomspace(1, 1000, 200).round())
    return world.space.counted(np.repeat(np.arange(200), plays.astype(int)), 0, world.end_us)


def choosing(max_candidates: int) -> Choosing:
    nothing = MixedLogistic(mean=np.zeros(1), scale=np.ones(1), weights=np.zeros(1), bias=0.0, spread=1.0)
    return Choosing(
        repeat=nothing, known=np.zeros((2, 1)), new=np.zeros((2, 1)), num_contexts=1, max_candidates=max_candidates
    )


@pytest.mark.parametrize("sampled", [False, True])
def test_planted_weights_come_back(sampled: bool) -> None:
    rng = np.random.default_rng(1)
    weights = np.array([1.0, -0.6, 0.0])
    read = rng.normal(size=(3000, 50, 3))
    utility = read @ weights + rng.gumbel(size=(3000, 50))
    picked = utility.argmax(axis=1)
    first = read[np.arange(3000), picked].copy()
    read[np.arange(3000), picked] = read[:, 0]
    read[:, 0] = first
    offered = read[:, :20] if sampled else read
    found = fit_choice(offered, np.ones(offered.shape[:2], bool), np.ones(3000))
    assert found == pytest.approx(weights, abs=0.06)


def test_what_could_not_be_chosen_plays_no_part() -> None:
    rng = np.random.default_rng(2)
    read = rng.normal(size=(500, 8, 2))
    may_come = np.ones((500, 8), bool)
    may_come[:, 5:] = False
    disturbed = read.copy()
    disturbed[:, 5:] = 1e3
    one, other = (fit_choice(features, may_come, np.ones(500)) for features in (read, disturbed))
    assert one == pytest.approx(other, abs=1e-9)


def test_a_sample_of_candidates_stands_for_all(space: Space) -> None:
    """The chance of each content by a softmax over samples is its chance over all, at any popularity."""
    model, rng = choosing(60), np.random.default_rng(3)
    utility = np.where(np.arange(200) < 20, 2.0, 0.0)
    chance, rounds = np.zeros(200), 3000
    for _ in range(rounds):
        candidates, log_weight = model.candidates(space, rng)
        weight = np.exp(utility[candidates] + log_weight)
        chance[candidates] += weight / weight.sum() / rounds
    exact = np.exp(utility) / np.exp(utility).sum()
    assert chance[:20].sum() == pytest.approx(exact[:20].sum(), abs=0.03)
    # The most played half is not chosen more often than the other.
    popular = np.argsort(-space.log_popularity[20:])[:90] + 20
    assert chance[popular].sum() == pytest.approx(exact[popular].sum(), abs=0.03)


def test_all_are_candidates_where_there_is_room(space: Space) -> None:
    candidates, log_weight = choosing(200).candidates(space, np.random.default_rng(0))
    assert candidates.tolist() == list(range(200))
    assert not log_weight.any()
