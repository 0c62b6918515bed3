"""The order of a list, compared with all orders of small ones and with points on a line."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.policies.sequencing import (
    Flow,
    _best_move,
    _best_reversal,
    _nearest_each_time,
    neighbour_gains,
    ordered,
    smoothness,
)

COSINES = Flow(spread=0)


def drawn(seed: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(k, 4)), rng.normal(size=k)


@given(st.integers(0, 1000), st.integers(0, 30))
def test_an_order_is_a_permutation_with_the_strongest_first_and_as_smooth_as_what_was_given(seed, k):
    vectors, utility = drawn(seed, k)
    order = ordered(vectors, utility, flow=COSINES)
    assert sorted(order.tolist()) == list(range(k))
    if k > 1:
        first = int(np.argmax(utility))
        assert order[0] == first
        as_given = np.append(first, np.delete(np.arange(k), first))
        assert smoothness(vectors[order]) >= smoothness(vectors[as_given]) - 1e-12


def test_points_on_an_arc_are_walked_along():
    angles = np.array([0.0, 0.9, 0.3, 1.2, 0.6, 1.5])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    utility = np.array([1.0, 0, 0, 0, 0, 0])
    order = ordered(vectors, utility, flow=COSINES)
    assert order.tolist() == [0, 2, 4, 1, 3, 5]
    assert smoothness(vectors[order]) == pytest.approx(np.cos(0.3))


@given(st.integers(0, 300))
def test_an_order_is_near_the_best_of_all(seed):
    vectors, utility = drawn(seed, 6)
    gains = neighbour_gains(vectors, utility, 0.05)
    first = int(np.argmax(utility))

    def total(order) -> float:
        return sum(gains[a, b] for a, b in pairwise(order))

    all_orders = [total((first, *rest)) for rest in permutations(set(range(6)) - {first})]
    found = total(ordered(vectors, utility).tolist())
    assert found <= max(all_orders) + 1e-9
    assert np.mean(np.array(all_orders) <= found + 1e-9) > 0.95


@given(st.integers(0, 1000), st.lists(st.integers(-1, 2), min_size=2, max_size=7))
def test_an_artist_follows_itself_only_where_it_cannot_be_otherwise(seed, codes):
    vectors, utility = drawn(seed, len(codes))
    artists = Ragged.from_lists([[code] if code >= 0 else [] for code in codes], np.int64)
    order = ordered(vectors, utility, artists).tolist()

    def clashes(one) -> int:
        return sum(codes[a] == codes[b] >= 0 for a, b in pairwise(one))

    first = int(np.argmax(utility))
    rest = set(range(len(codes))) - {first}
    assert order[0] == first
    assert clashes(order) == min(clashes((first, *others)) for others in permutations(rest))


@pytest.mark.parametrize("seed", range(5))
def test_an_artist_of_half_a_list_alternates_with_the_others(seed):
    """Only orders that alternate have no clash, and the artists' own contents are near each other."""
    rng = np.random.default_rng(seed)
    codes = np.array([0] * 11 + [1] * 6 + [2] * 4)
    vectors = np.eye(3)[codes] + 0.3 * rng.normal(size=(21, 3))
    utility = np.where(codes == 0, 1.0, 0.0) * rng.random(21)
    artists = Ragged.from_lists(codes[:, None], np.int64)
    assert (codes[ordered(vectors, utility, artists)[::2]] == 0).all()
    # It alternates from the start, so that improvements never have to pass a worse order.
    gains, first = neighbour_gains(vectors, utility, 0.05), int(np.argmax(utility))
    start = _nearest_each_time(gains, codes[:, None] == codes, first, artists)
    assert (codes[start[::2]] == 0).all()


def test_of_several_artists_one_that_is_shared_is_enough():
    vectors = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    artists = Ragged.from_lists([[0, 1], [1, 2], [3]], np.int64)
    assert ordered(vectors, np.array([2.0, 1.0, 0.0]), artists).tolist() == [0, 2, 1]


def test_strong_and_weak_contents_are_spread():
    vectors = np.tile([1.0, 0.0], (6, 1))
    utility = np.array([3.0, 3.0, 3.0, 0.0, 0.0, 0.0])
    assert utility[ordered(vectors, utility)].tolist() == [3, 0, 3, 0, 3, 0]


@given(st.integers(0, 1000), st.integers(2, 9))
def test_the_best_reversal_and_the_best_move_gain_what_they_say(seed, k):
    vectors, utility = drawn(seed, k)
    gains = neighbour_gains(vectors, utility, 0.05)
    order = np.random.default_rng(seed).permutation(k)

    def total(one) -> float:
        return float(sum(gains[a, b] for a, b in pairwise(one)))

    in_order = np.pad(gains[np.ix_(order, order)], (0, 1))
    (start, end), gain = _best_reversal(in_order)
    turned = {(a, b): [*order[:a], *order[a : b + 1][::-1], *order[b + 1 :]] for a in range(1, k) for b in range(a, k)}
    assert total(turned[start, end]) - total(order) == pytest.approx(gain)
    assert gain == pytest.approx(max(total(one) for one in turned.values()) - total(order))
    (source, target), gain = _best_move(in_order)
    moved = {(a, b): np.insert(np.delete(order, a), b, order[a]) for a in range(1, k) for b in range(1, k)}
    assert total(moved[source, target]) - total(order) == pytest.approx(gain)
    assert gain == pytest.approx(max(total(one) for one in moved.values()) - total(order))


def test_a_spread_below_0_is_refused():
    with pytest.raises(UserError, match="spread=-1"):
        Flow(spread=-1)
