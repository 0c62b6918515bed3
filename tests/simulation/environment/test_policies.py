"""Serving policies and their value."""

import numpy as np
import pytest

from tests.simulation.environment.small import CONTENTS, population, simulator
from towers.simulation.environment.making import make_world
from towers.simulation.environment.policies import (
    MostPlayed,
    Nearest,
    NearestOfRegions,
    RandomCandidates,
    YesterdaysMostPlayed,
    earlier_equals,
    five_policies,
)
from towers.simulation.environment.rewards import PARTS
from towers.simulation.environment.value import value_of

SPACE = simulator().space


def observation(candidates: list[int], taste: int) -> dict[str, np.ndarray]:
    return {"candidates": np.array([candidates], np.int32), "taste": SPACE.vectors[[taste]]}


def test_nearest_come_in_the_order_of_their_inner_products():
    seen = observation(list(range(20)), 5)
    nearest = Nearest(SPACE, 4).act(seen)[0]
    assert list(nearest) == list(np.argsort(-(SPACE.vectors[:20] @ SPACE.vectors[5]))[:4])
    assert nearest[0] == 5


def test_at_most_two_of_a_region_while_others_are_left():
    seen = observation(list(range(40)), 5)
    slate = NearestOfRegions(SPACE, 8).act(seen)[0]
    assert list(np.bincount(SPACE.region[slate])) == [2, 2, 2, 2]
    assert list(slate[:2]) == list(Nearest(SPACE, 8).act(seen)[0][:2])
    of_one_region = NearestOfRegions(SPACE, 4).act(observation([1, 5, 9, 13, 17, -1], 5))[0]
    assert set(of_one_region) <= {1, 5, 9, 13, 17}
    assert len(set(of_one_region)) == 4


def test_yesterdays_most_played_are_of_yesterday():
    policy, seen = YesterdaysMostPlayed(SPACE, 3), observation([1, 2, 3], 0)
    policy.begin_day(None)
    assert (
        list(policy.act(seen)[0])
        == list(MostPlayed(SPACE, 3).act(seen)[0])
        == list(np.argsort(-SPACE.plays, kind="stable")[:3])
    )
    streamed = np.zeros(CONTENTS, np.int64)
    streamed[[11, 7]] = 1, 2
    policy.begin_day(streamed)
    assert list(policy.act(seen)[0]) == [7, 11, np.argmax(SPACE.plays)]


def test_random_slates_hold_candidates_without_repeats():
    policy = RandomCandidates(SPACE, 5)
    policy.begin(0)
    seen = {"candidates": np.tile(np.array([*range(30, 40), -1, -1], np.int32), (50, 1))}
    slates = policy.act(seen)
    assert np.isin(slates, np.arange(30, 40)).all()
    assert all(len(set(slate)) == 5 for slate in slates)
    assert len(np.unique(slates, axis=0)) > 40


def test_equals_are_counted_by_row():
    assert earlier_equals(np.array([[3, 1, 3, 3, 1], [2, 2, 2, 0, 2]])).tolist() == [[0, 0, 1, 2, 1], [0, 1, 2, 0, 3]]


@pytest.mark.slow
def test_values_are_paired_repeatable_and_in_a_sensible_order():
    world = make_world(
        simulator(), 30, population=population(), days=1.0, slate_size=4, num_candidates=40, own_pull=0.0
    )
    values = [value_of(policy, world, seeds=[0]) for policy in five_policies(world.space, 4)]
    again = value_of(five_policies(world.space, 4)[3], world, seeds=[0])
    assert all(np.array_equal(values[3].parts[name], again.parts[name]) for name in PARTS)
    assert np.array_equal(
        values[3].reward({"streams": 1.0, "skips": -1.0}), again.parts["streams"] - again.parts["skips"]
    )
    mean, low, high = values[3].mean()["streams"]
    assert low < mean < high
    assert values[3].over(again)["streams"] == (0.0, 0.0, 0.0)

    def kept(value) -> float:
        return value.parts["streams"].sum() / (value.parts["streams"] + value.parts["skips"]).sum()

    # Listeners of this world skip half of what is not of their region.
    assert kept(values[3]) > kept(values[0])
    assert values[3].over(values[0])["streams"][0] == pytest.approx(
        values[3].parts["streams"].mean() - values[0].parts["streams"].mean()
    )
