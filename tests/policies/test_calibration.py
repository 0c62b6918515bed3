"""Lists in the styles of their listener, compared with every possible list of small cases."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.features.calibration import calibration_kl
from towers.policies.calibration import by_flow, by_greedy, listener_mix, places_of


def shares(sets: list[set[int]], styles: int) -> np.ndarray:
    made = np.zeros((len(sets), styles))
    for row, own in enumerate(sets):
        made[row, list(own)] = 1 / max(len(own), 1)
    return made


@st.composite
def cases(draw):
    n, styles = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    sets = draw(st.lists(st.sets(st.integers(0, styles - 1)), min_size=n, max_size=n))
    utilities = draw(st.lists(st.integers(-9, 9), min_size=n, max_size=n))
    weights = np.array(draw(st.lists(st.integers(0, 4), min_size=styles + 1, max_size=styles + 1)), float)
    p = weights[:-1] / max(weights.sum(), 1)
    return np.array(utilities, float), shares(sets, styles), p, draw(st.integers(1, 4))


def seated(chosen: tuple[int, ...], of: np.ndarray, places: list[int]) -> int:
    """Returns the largest number of chosen contents in a place of their own style, by trying all ways."""
    return max(sum(of[one, place] > 0 for one, place in zip(way, places, strict=True)) for way in permutations(chosen))


@given(cases())
def test_the_flow_is_the_best_of_all_lists(case):
    u, s, p, k = case
    k = min(k, len(u))
    chosen = by_flow(u, s, p, k)
    assert len(set(chosen.tolist())) == k
    if p.sum() == 0:
        assert u[chosen].sum() == np.sort(u)[::-1][:k].sum()
        return
    of, wanted = np.column_stack([s, 1 - s.sum(axis=1)]), np.append(p, 1 - p.sum())
    of[of < 1e-6] = 0
    places = np.repeat(np.arange(len(wanted)), places_of(wanted, k)).tolist()
    best = max((seated(one, of, places), u[list(one)].sum()) for one in combinations(range(len(u)), k))
    assert (seated(tuple(chosen.tolist()), of, places), u[chosen].sum()) == pytest.approx(best)


@given(cases())
def test_the_greedy_way_adds_what_raises_the_paper_s_objective_most(case):
    u, s, p, k = case
    k = min(k, len(u))
    chosen, weight = by_greedy(u, s, p, k, weight=0.4), 0.4
    assert len(set(chosen.tolist())) == k
    if p.sum() == 0:
        return
    of, wanted = np.column_stack([s, 1 - s.sum(axis=1)]), np.append(p, 1 - p.sum())

    def value(rows: list[int]) -> float:
        return (1 - weight) * u[rows].sum() - weight * float(calibration_kl(wanted, of[rows].mean(axis=0)))

    for place in range(k):
        before = chosen[:place].tolist()
        others = [value([*before, one]) for one in range(len(u)) if one not in before]
        assert value([*before, int(chosen[place])]) == pytest.approx(max(others), abs=1e-9)


@given(cases())
def test_of_contents_of_one_style_the_greedy_list_of_the_whole_is_the_best_of_all(case):
    u, s, p, k = case
    s = np.where(np.cumsum(s > 0, axis=1) == 1, s > 0, 0.0)
    k = min(k, len(u))
    chosen = by_greedy(u / 10, s, p, k, weight=0.6, of_whole=True)
    if p.sum() == 0:
        return
    of, wanted = np.column_stack([s, 1 - s.sum(axis=1)]), np.append(p, 1 - p.sum())

    def value(rows: list[int]) -> float:
        return 0.4 * u[rows].sum() / 10 - 0.6 * float(calibration_kl(wanted, of[rows].mean(axis=0)))

    best = max(value(list(one)) for one in combinations(range(len(u)), k))
    assert value(chosen.tolist()) == pytest.approx(best)


def test_what_is_barred_does_not_come():
    u, s, p = np.array([3.0, 2.0, 1.0]), np.ones((3, 1)), np.ones(1)
    assert by_greedy(u, s, p, 3, bars=lambda one: np.array([min(one + 1, 2)])).tolist() == [0, 2]
    assert by_greedy(u, s, p, 3, bars=lambda one: np.arange(3)).tolist() == [0]


def test_contents_without_a_style_come_in_the_share_of_the_history():
    """Half of the history is folk, half of unknown style; the best candidates are all folk."""
    s = shares([{0}] * 10 + [set()] * 10, 2)
    u = np.arange(20, 0, -1.0)
    p = listener_mix(shares([{0}, set(), {0}, set()], 2))
    assert p.tolist() == [0.5, 0.0]
    assert by_flow(u, s, p, 6).tolist() == [0, 1, 2, 10, 11, 12]
    assert sorted(by_greedy(u / 1000, s, p, 6).tolist()) == [0, 1, 2, 10, 11, 12]


def test_a_place_of_the_wrong_style_has_a_price():
    s = shares([{0}, {0}, {1}], 2)
    u, p = np.array([3.0, 2.0, 1.0]), np.array([0.5, 0.5])
    assert by_flow(u, s, p, 2).tolist() == [0, 2]
    assert by_flow(u, s, p, 2, miss=1.5).tolist() == [0, 2]
    assert by_flow(u, s, p, 2, miss=0.5).tolist() == [0, 1]


def test_a_style_that_is_a_small_part_of_a_content_gives_it_no_place():
    s = np.array([[0.9, 0.1], [0.8, 0.2], [0.0, 1.0]])
    assert by_flow(np.array([3.0, 2.0, 1.0]), s, np.array([0.5, 0.5]), 2).tolist() == [0, 2]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any), st.integers(1, 40))
def test_places_add_up_and_are_within_one_of_their_share(weights, k):
    p = np.array(weights) / sum(weights)
    places = places_of(p, k)
    assert places.sum() == k
    assert (np.abs(places - k * p) < 1).all()


def test_recent_choices_weigh_more():
    s = shares([{0}, {1}, {1}], 2)
    assert listener_mix(s) == pytest.approx([1 / 3, 2 / 3])
    assert listener_mix(s, half_life=1.0) == pytest.approx([1 / 7, 6 / 7])
    assert listener_mix(s, age=np.array([12.0, 11.0, 10.0]), half_life=1.0) == pytest.approx([1 / 7, 6 / 7])
    assert listener_mix(s[:0]).tolist() == [0.0, 0.0]
