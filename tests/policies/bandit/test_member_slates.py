"""Slates of one member with a floor in each slot: chances by hand, and the guarantee of the floor."""

from itertools import permutations

import numpy as np
import pytest

from towers.contract.slate import NOTHING
from towers.policies.bandit.drawing import Draws
from towers.policies.bandit.member_slates import member_chances_of, member_slates_of

CARDS, FLOOR = 4, 0.2
RANKINGS = np.array([[[0, 1]], [[0, 2]], [[3, 0]]])
"""Three members, one listener."""


def chances_of_slate(slate, floor=FLOOR):
    """Returns the chance of each card of a slate, given those before."""
    found = member_chances_of(RANKINGS, np.array([slate]), floor, CARDS, None)
    return found[0, np.arange(len(slate)), slate]


def by_hand(slate):
    """Returns a slate's chance: the mean over members of the product over slots of each member's chance."""
    total = 0.0
    for ranking in RANKINGS[:, 0].tolist():
        chance, shown = 1.0, []
        for card in slate:
            own = next(card for card in ranking if card not in shown)
            chance *= (1 - FLOOR) * (own == card) + FLOOR / (CARDS - len(shown))
            shown.append(card)
        total += chance / len(RANKINGS)
    return total


@pytest.mark.parametrize("slate", list(permutations(range(CARDS), 2)))
def test_the_chance_of_a_slate_is_the_mean_over_its_members(slate):
    assert chances_of_slate(list(slate)).prod() == pytest.approx(by_hand(slate))


def test_any_card_keeps_its_floor_in_each_slot_whatever_stands_before():
    for first in range(CARDS):
        found = member_chances_of(RANKINGS, np.array([[first, NOTHING]]), FLOOR, CARDS, None)[0]
        assert (found[0] >= FLOOR / CARDS - 1e-12).all()
        assert (np.delete(found[1], first) >= FLOOR / (CARDS - 1) - 1e-12).all()
        assert found[1, first] == 0


def test_without_a_floor_a_slate_is_a_members_own():
    listeners = 3_000
    draws = Draws.of(np.random.default_rng(0), listeners, 2)
    rankings = np.repeat(RANKINGS, listeners, axis=1)
    slate = member_slates_of(rankings, draws, 0.0, np.arange(CARDS), None, "home")
    assert {*map(tuple, slate.content_rows.tolist())} == {(0, 1), (0, 2), (3, 0)}
    assert slate.propensities.prod(axis=1) == pytest.approx(1 / 3)


def test_a_slate_that_no_member_draws_leaves_all_of_them_likely():
    assert chances_of_slate([1, 0], floor=0.0).tolist() == pytest.approx([0, 2 / 3])


def test_one_listener_is_drawn_as_among_many():
    rankings = np.stack([np.random.default_rng(at).permuted(np.tile(np.arange(9), (50, 1)), axis=1) for at in range(5)])
    draws = Draws.of(np.random.default_rng(1), 50, 6)
    rows = np.arange(9) * 3
    many = member_slates_of(rankings, draws, 0.3, rows, None, "home")
    for at in range(50):
        one = slice(at, at + 1)
        alone = member_slates_of(rankings[:, one], draws.for_(one), 0.3, rows, None, "home")
        assert np.array_equal(alone.content_rows[0], many.content_rows[at])
        assert alone.propensities[0] == pytest.approx(many.propensities[at], rel=1e-12)
