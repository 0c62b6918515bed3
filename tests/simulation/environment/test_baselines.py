"""Baselines of agents: greedy, capped, varied, mixed, and a planner with the true state."""

from itertools import combinations

import numpy as np
import pytest

from tests.simulation.environment.small import population, simulator
from towers.simulation.environment.baselines import CappedGreedy, EpsilonMixed, Greedy
from towers.simulation.environment.chance import READS, ClickChance
from towers.simulation.environment.chance_fitting import _Logged, fit_click_chance
from towers.simulation.environment.diversified import Diversified
from towers.simulation.environment.judging import judged_once
from towers.simulation.environment.making import make_world
from towers.simulation.environment.planner import Planner, best_slates
from towers.simulation.environment.policies import RandomCandidates
from towers.simulation.environment.serving import begun, turns
from towers.simulation.environment.world import ListeningWorld

SPACE = simulator().space
SLATE = 4


def world(seed: int = 0, days: float = 2.0) -> ListeningWorld:
    return make_world(
        simulator(),
        20,
        population=population(),
        days=days,
        slate_size=SLATE,
        num_candidates=40,
        own_pull=1.0,
        seed=seed,
    )


@pytest.fixture(scope="module")
def chance() -> ClickChance:
    return fit_click_chance(world(5), slate_size=SLATE)


@pytest.fixture(scope="module")
def seen() -> dict[str, np.ndarray]:
    made = world()
    made.reset(np.arange(20), np.random.default_rng(0))
    return made.observe(np.arange(20))


def test_the_chance_is_calibrated_and_prefers_what_is_near(chance: ClickChance, seen: dict[str, np.ndarray]) -> None:
    logged = _Logged(RandomCandidates(SPACE, SLATE), SPACE)
    begun(logged, made := world(), 3)
    assert sum(len(turn.rows) for turn in turns(logged, made)) * SLATE == sum(len(rows) for rows in logged.read)
    expected = np.concatenate([1 / (1 + np.exp(-chance.logistic.log_odds(rows))) for rows in logged.read])
    happened = np.concatenate(logged.happened)
    # Three standard errors of the share.
    assert expected.mean() == pytest.approx(happened.mean(), abs=3 * np.sqrt(happened.mean() / len(happened)))
    assert chance.logistic.weights[READS.index("affinity")] > 0
    of = chance.of(SPACE, seen)
    assert of.shape == seen["candidates"].shape
    assert ((of > 0) == (seen["candidates"] >= 0)).all()


def test_greedy_shows_the_likeliest_first_and_varied_without_variety_is_greedy(
    chance: ClickChance, seen: dict[str, np.ndarray]
) -> None:
    greedy = Greedy(SPACE, chance, SLATE).act(seen)
    of = chance.of(SPACE, seen)
    for row, slate in enumerate(greedy):
        best = np.sort(of[row])[::-1][:SLATE]
        shown = [of[row][seen["candidates"][row] == content][0] for content in slate]
        assert shown == pytest.approx(list(best))
    for strategy in ("mmr", "dpp"):
        np.testing.assert_array_equal(Diversified(SPACE, chance, SLATE, strategy, 0.0).act(seen), greedy)
        varied = Diversified(SPACE, chance, SLATE, strategy, 0.9).act(seen)
        assert all(len(set(slate)) == SLATE for slate in varied)
        assert likeness(varied) < likeness(greedy)


def likeness(slates: np.ndarray) -> float:
    pairs = combinations(range(SLATE), 2)
    return float(np.mean([(SPACE.vectors[slates[:, a]] * SPACE.vectors[slates[:, b]]).sum(axis=1) for a, b in pairs]))


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_cap_is_never_exceeded_while_others_are_left(
    chance: ClickChance, seen: dict[str, np.ndarray], most: int
) -> None:
    slates = CappedGreedy(SPACE, chance, SLATE, most).act(seen)
    for slate, candidates in zip(slates, seen["candidates"], strict=True):
        regions = np.bincount(SPACE.region[slate])
        assert regions.max() <= most or len(set(SPACE.region[candidates[candidates >= 0]])) * most < SLATE
    np.testing.assert_array_equal(
        CappedGreedy(SPACE, chance, SLATE, SLATE).act(seen), Greedy(SPACE, chance, SLATE).act(seen)
    )


def test_a_mixture_shows_its_share_of_other_candidates(chance: ClickChance, seen: dict[str, np.ndarray]) -> None:
    greedy = Greedy(SPACE, chance, SLATE)
    plain, mixed = greedy.act(seen), EpsilonMixed(greedy, 0.5)
    mixed.begin(0)
    others = [mixed.act(seen) for _ in range(20)]
    assert all(len(set(slate)) == SLATE for slates in others for slate in slates)
    share = np.mean([slates != plain for slates in others])
    # A candidate that stands in the slate already changes nothing.
    assert 0.35 < share < 0.5
    np.testing.assert_array_equal(EpsilonMixed(greedy, 0.0).act(seen), plain)


def test_the_best_slate_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    weight, value = rng.gamma(1.0, size=(30, 7)), rng.normal(size=(30, 7))
    own = rng.normal(size=30)
    slates = best_slates(weight, value, 1.5, own, np.tile(np.arange(7), (30, 1)), 3)
    for row in range(30):

        def worth(some, row=row) -> float:
            some = list(some)
            return (weight[row, some] @ value[row, some] + 1.5 * own[row]) / (weight[row, some].sum() + 1.5)

        best = max(worth(some) for number in range(1, 4) for some in combinations(range(7), number))
        assert worth(set(slates[row])) == pytest.approx(best)


@pytest.mark.slow
def test_a_planner_earns_more_than_greedy(chance: ClickChance) -> None:
    planned = judged_once(Planner(SLATE), "small", world(days=8.0), 0)
    greedy = judged_once(Greedy(SPACE, chance, SLATE), "small", world(days=8.0), 0)
    assert planned.returns().mean() > greedy.returns().mean()
    with pytest.raises(TypeError, match="act_in"):
        Planner(SLATE).act({})
