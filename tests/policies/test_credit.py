"""Places that are shared out fairly among members."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from towers.policies.credit import RANK_OFFSET, in_sequence, is_fair, share_places, worth_by_rank


def random_utilities(seed: int, members: int, candidates: int, alike: float) -> np.ndarray:
    """Draws utilities of members whose tastes are alike (1) to opposite (0 and below)."""
    random = np.random.default_rng(seed)
    return alike * random.normal(size=candidates) + random.normal(size=(members, candidates))


groups = st.builds(
    random_utilities,
    seed=st.integers(0, 10_000),
    members=st.integers(2, 12),
    candidates=st.integers(1, 60),
    alike=st.floats(-2, 5),
)


def test_only_the_order_of_utilities_counts():
    utilities = np.array([[-5.0, 2.0, 2.0], [0.1, 0.3, 0.2]])
    first, second, third = (1 / (RANK_OFFSET + rank) for rank in range(3))
    assert worth_by_rank(utilities).tolist() == [[third, first, second], [third, first, second]]
    assert np.array_equal(worth_by_rank(np.exp(utilities)), worth_by_rank(utilities))


@given(groups, st.integers(1, 50))
def test_credits_are_within_one_place_of_equal_after_every_place(utilities, num_places):
    picks, credits = share_places(worth_by_rank(utilities), num_places)
    members, candidates = utilities.shape
    assert len(picks) == len(set(picks.tolist())) == min(num_places, candidates)
    assert credits.shape == (len(picks), members)
    assert credits.sum(axis=1) == pytest.approx(1)
    for places in range(1, len(picks) + 1):
        assert np.abs(credits[:places].sum(axis=0) - places / members).max() <= 1 + 1e-6


@given(
    st.integers(2, 6).flatmap(
        lambda n: arrays(np.float64, st.tuples(st.just(n), st.integers(8, 40)), elements=st.floats(0.001, 1))
    )
)
def test_they_are_whatever_the_worth(worth):
    """The cases have shares that no ranks give: contents for one member alone, and members who want none of their
    own.
    """
    _, credits = share_places(worth, 30)
    assert is_fair(credits)


def test_who_is_always_left_behind_gets_whole_places():
    """Every content is worth a hundred times as much to the first of three members."""
    worth = np.tile(np.array([[1.0], [0.01], [0.01]]), 40) * np.linspace(1, 0.5, 40)
    worth[1] = worth[1, ::-1]
    worth[0, :20] *= 100
    _, credits = share_places(worth, 30)
    assert is_fair(credits)


def one_by_one(worth: np.ndarray, num_places: int) -> list[int]:
    """Shares out places slowly, with products in full, and plays through whether credits can be kept for ever."""
    members, candidates = worth.shape
    discounts = [1 / np.log2(place + 2) for place in range(num_places)]
    best = [sum(d * w for d, w in zip(discounts, sorted(own, reverse=True), strict=False)) for own in worth.tolist()]
    relative = worth / np.array(best)[:, None]
    sums, arrears, left, picks = np.full(members, 1 / num_places), np.zeros(members), set(range(candidates)), []
    for discount in discounts[:candidates]:
        due = arrears + 1 / members
        products = {content: np.log(sums + discount * relative[:, content]).sum() for content in left}
        share_of = {content: relative[:, content] / relative[:, content].sum() for content in left}
        fair = [content for content in left if can_go_on(due - share_of[content])]
        if fair:
            pick = min(fair, key=lambda content: (-products[content], content))
            share = share_of[pick]
        else:
            behind = int(due.argmax())
            pick = min(left, key=lambda content: (-relative[behind, content], content))
            share = np.eye(members)[behind]
        arrears, sums = due - share, sums + discount * relative[:, pick]
        left.remove(pick)
        picks.append(pick)
    return picks


def can_go_on(arrears: np.ndarray) -> bool:
    """Returns whether credits stay within one place of equal, if each further place goes to the member furthest
    behind.
    """
    for _ in range(2 * len(arrears)):
        if np.abs(arrears).max() > 1 + 1e-9:
            return False
        arrears = arrears + 1 / len(arrears)
        arrears[arrears.argmax()] -= 1
    return True


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.floats(0.1, 2))
def test_it_picks_what_its_slow_twin_picks(seed, members, spread):
    worth = np.exp(spread * np.random.default_rng(seed).normal(size=(members, 25)))
    assert share_places(worth, 15)[0].tolist() == one_by_one(worth, 15)


def test_of_opposite_tastes_each_gets_half():
    utilities = np.stack([np.arange(100.0), -np.arange(100.0)])
    picks, credits = share_places(worth_by_rank(utilities), 10)
    assert sorted(picks.tolist()) == [0, 1, 2, 3, 4, 95, 96, 97, 98, 99]
    assert credits.sum(axis=0) == pytest.approx([5, 5], abs=1)


def test_of_one_taste_the_list_is_theirs():
    utilities = np.tile(np.arange(30.0), (4, 1))
    picks, credits = share_places(worth_by_rank(utilities), 5)
    assert picks.tolist() == [29, 28, 27, 26, 25]
    assert np.allclose(credits, 0.25)


def test_the_first_place_has_the_largest_product():
    """It is one step by brute force: sums that start at 1 / places, relative to each member's own best list."""
    worth = np.random.default_rng(0).uniform(0.1, 1, (3, 20))
    picks, _ = share_places(worth, 1)
    relative = worth / worth.max(axis=1, keepdims=True)
    assert picks.tolist() == [int(np.prod(1 + relative, axis=0).argmax())]


def test_what_may_not_come_does_not():
    worth = worth_by_rank(np.random.default_rng(0).normal(size=(2, 10)))

    def is_open(picks: list[int]) -> np.ndarray:
        found = np.arange(10) % 2 == 0
        found[picks] = False
        return found

    picks, credits = share_places(worth, 8, is_open)
    assert sorted(picks.tolist()) == [0, 2, 4, 6, 8]
    assert is_fair(credits)


@given(groups, st.floats(0, 0.9))
def test_a_sequence_flows_better_and_stays_fair(utilities, reach):
    picks, credits = share_places(worth_by_rank(utilities), 25)
    vectors = np.random.default_rng(0).normal(size=(len(picks), 3))
    gains = vectors @ vectors.T
    order = in_sequence(gains, credits, reach)
    assert sorted(order.tolist()) == list(range(len(picks)))
    places = np.arange(len(picks))
    assert (np.abs(places - order) <= reach * (order + 1)).all()
    assert is_fair(credits[order])
    assert gains[order[:-1], order[1:]].sum() >= np.diagonal(gains, offset=1).sum() - 1e-6


def test_a_sequence_brings_neighbours_together():
    """The kinds at places 3 to 6, behind two that stay, are a, b, a and b; a swap brings equal kinds together."""
    kind = np.array([0, 1, 2, 3, 2, 3])
    gains = (kind[:, None] == kind).astype(float)
    order = in_sequence(gains, np.full((6, 2), 0.5), 0.25)
    assert order.tolist() in ([0, 1, 2, 4, 3, 5], [0, 1, 3, 2, 4, 5], [0, 1, 2, 4, 5, 3])
    assert in_sequence(gains, np.full((6, 2), 0.5), 0.1).tolist() == list(range(6))


def test_no_sequence_without_reach():
    gains = np.random.default_rng(0).normal(size=(9, 9))
    assert in_sequence(gains + gains.T, np.full((9, 3), 1 / 3), 0).tolist() == list(range(9))
