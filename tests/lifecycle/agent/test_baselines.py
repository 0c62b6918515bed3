"""Baselines made of the project's own policies."""

import numpy as np
import pytest

from tests.simulation.environment.small import population, simulator
from towers.features.calibration import kl_terms
from towers.lifecycle.agent.baselines import CalibratedGreedy, HomeBandit
from towers.policies.calibration import listener_mix
from towers.simulation.environment.baselines import Greedy
from towers.simulation.environment.chance import ClickChance
from towers.simulation.environment.chance_fitting import fit_click_chance
from towers.simulation.environment.judging import judged_once
from towers.simulation.environment.making import make_world
from towers.simulation.environment.policies import RandomCandidates
from towers.simulation.environment.world import ListeningWorld

SPACE = simulator().space
SLATE = 4


def world(listeners: int = 20, days: float = 2.0, seed: int = 0) -> ListeningWorld:
    settings = {"slate_size": SLATE, "num_candidates": 40, "own_pull": 1.0}
    return make_world(simulator(), listeners, population=population(), days=days, seed=seed, **settings)


@pytest.fixture(scope="module")
def chance() -> ClickChance:
    return fit_click_chance(world(seed=5), slate_size=SLATE)


@pytest.fixture(scope="module")
def seen() -> dict[str, np.ndarray]:
    made = world()
    made.reset(np.arange(20), np.random.default_rng(0))
    return made.observe(np.arange(20))


def test_a_calibrated_slate_is_nearer_to_what_was_streamed(chance: ClickChance, seen: dict[str, np.ndarray]) -> None:
    styles = np.eye(len(SPACE.region_names))[SPACE.region]
    greedy = Greedy(SPACE, chance, SLATE).act(seen)
    np.testing.assert_array_equal(CalibratedGreedy(SPACE, chance, SLATE, weight=0.0).act(seen), greedy)

    def divergence(slates: np.ndarray) -> float:
        found = []
        for row, slate in enumerate(slates):
            recent = seen["recent"][row][(seen["recent"][row] >= 0) & (seen["recent_skipped"][row] == 0)]
            found.append(kl_terms(listener_mix(styles[recent]), styles[slate].mean(axis=0)).sum())
        return float(np.mean(found))

    calibrated = [divergence(CalibratedGreedy(SPACE, chance, SLATE, weight).act(seen)) for weight in (0.0, 0.5, 1.0)]
    assert calibrated[0] > calibrated[1] >= calibrated[2]
    assert all(len(set(slate)) == SLATE for slate in CalibratedGreedy(SPACE, chance, SLATE).act(seen))


@pytest.mark.slow
def test_the_home_bandit_learns_who_picks_what() -> None:
    taught = HomeBandit.taught(world(seed=5, days=4.0), (1,), SLATE)
    made = world(days=3.0)
    bandit, random = (
        judged_once(taught, "small", made, 0),
        judged_once(RandomCandidates(SPACE, SLATE), "small", made, 0),
    )

    def streamed_share(judged) -> float:
        return judged.figures["clicks"].sum() / judged.figures["plays"].sum()

    assert streamed_share(bandit) > 1.1 * streamed_share(random)
    again = judged_once(taught, "small", made, 0)
    np.testing.assert_array_equal(again.figures["streams"], bandit.figures["streams"])
