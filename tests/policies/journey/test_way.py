"""The cheapest way over layers of candidates."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.policies.journey.way import cheapest_way, cost_of


def problem(seed: int, layers: int, candidates: int, different: int):
    random = np.random.default_rng(seed)
    same = [random.choice(different, candidates, replace=False) for _ in range(layers)]
    places = [random.random(candidates) for _ in range(layers)]
    steps = [random.random((candidates, candidates)) for _ in range(layers - 1)]
    return places, steps, same


def best_of_all(places, steps, same) -> float:
    ways = (way for way in product(*(range(len(one)) for one in places))
            if len({int(numbers[at]) for numbers, at in zip(same, way, strict=True)}) == len(places))  # fmt: skip
    return min(cost_of(way, places, steps) for way in ways)


@given(seed=st.integers(0, 1_000))
@settings(max_examples=5, deadline=None)
def test_the_best_way_of_all_where_nothing_can_come_twice(seed):
    places, steps, _ = problem(seed, 4, 4, 4)
    apart = [np.arange(4) + 10 * layer for layer in range(4)]
    way = cheapest_way(places, steps, apart)
    assert cost_of(way, places, steps) == pytest.approx(best_of_all(places, steps, apart))


@given(seed=st.integers(0, 1_000), different=st.integers(4, 8))
@settings(max_examples=12, deadline=None)
def test_nothing_comes_twice_however_few_there_are(seed, different):
    places, steps, same = problem(seed, 4, 4, different)
    way = cheapest_way(places, steps, same)
    assert len({int(numbers[at]) for numbers, at in zip(same, way, strict=True)}) == 4
    assert cost_of(way, places, steps) >= best_of_all(places, steps, same) - 1e-9


def test_little_is_lost_where_something_would_come_twice():
    costs = []
    for seed in range(20):
        places, steps, same = problem(seed, 4, 4, 8)
        costs.append((cost_of(cheapest_way(places, steps, same), places, steps), best_of_all(places, steps, same)))
    found, best = np.array(costs).T
    assert (found < best + 1e-9).mean() >= 0.5
    assert found.mean() / best.mean() < 1.05


def test_what_has_one_candidate_keeps_it_though_others_want_it_more():
    places = [np.array([0.0, 1.0]), np.array([0.5])]
    way = cheapest_way(places, [np.zeros((2, 1))], [np.array([7, 8]), np.array([7])])
    assert way == [1, 0]


def test_too_few_candidates_are_refused():
    places, same = [np.zeros(1), np.zeros(1)], [np.array([7]), np.array([7])]
    with pytest.raises(ValueError, match="fewer different candidates"):
        cheapest_way(places, [np.zeros((1, 1))], same)


def test_the_cost_is_of_places_and_steps():
    places, steps, _ = problem(0, 3, 2, 4)
    by_hand = places[0][1] + places[1][0] + places[2][1] + steps[0][1, 0] + steps[1][0, 1]
    assert cost_of([1, 0, 1], places, steps) == pytest.approx(by_hand)
    assert len(list(pairwise([1, 0, 1]))) == len(steps)
