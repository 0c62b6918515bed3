"""Slates from rankings: the logged chance is the chance with which a slate comes."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.contract.slate import NOTHING
from towers.policies.bandit.drawing import Draws, chances_of, rankings_of, slate_of

ROWS = np.array([70, 20, 300, 11])
SCORES = np.array([[[0.1, 0.9, 0.4, 0.2]], [[0.8, 0.1, 0.7, 0.6]], [[0.1, 0.9, 0.4, 0.2]]])


def slates(scores, slots, floor, listeners, is_allowed=None, seed=0):
    scores = np.repeat(scores, listeners, axis=1)
    allowed = None if is_allowed is None else np.repeat(is_allowed, listeners, axis=0)
    rankings = rankings_of(scores, slots, allowed)
    draws = Draws.of(np.random.default_rng(seed), listeners, slots)
    return slate_of(rankings, draws, floor, ROWS, allowed, "home")


def test_by_hand():
    """Two of three members have the second card first, one the first; a tenth goes to any of four."""
    slate = slates(SCORES, 1, 0.1, 2_000)
    chance = dict(zip(slate.content_rows[:, 0].tolist(), slate.propensities[:, 0].tolist(), strict=True))
    assert chance == {20: pytest.approx(0.9 * 2 / 3 + 0.1 / 4), 70: pytest.approx(0.9 / 3 + 0.1 / 4),
                      300: pytest.approx(0.1 / 4), 11: pytest.approx(0.1 / 4)}  # fmt: skip


@pytest.mark.parametrize("is_allowed", [None, np.array([[True, False, True, True]])])
@pytest.mark.parametrize("floor", [0.0, 0.3, 1.0])
def test_slates_come_as_often_as_their_propensities_say(floor, is_allowed):
    listeners = 40_000
    slate = slates(SCORES, 2, floor, listeners, is_allowed)
    found = Counter(map(tuple, slate.content_rows.tolist()))
    chance = {
        tuple(row): p for row, p in zip(slate.content_rows.tolist(), slate.propensities.prod(axis=1), strict=True)
    }
    allowed = ROWS if is_allowed is None else ROWS[is_allowed[0]]
    assert {*found} <= {*permutations(allowed.tolist(), 2)}
    if floor:
        assert sum(chance.values()) == pytest.approx(1)
    for rows, times in found.items():
        spread = np.sqrt(listeners * chance[rows] * (1 - chance[rows]))
        assert abs(times - listeners * chance[rows]) <= 5 * spread + 1e-6


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.integers(1, 8), st.floats(0, 1), st.integers(0, 2**32))
def test_any_slate_is_whole(members, cards, slots, floor, seed):
    """Empty slots are at the end, no card appears twice, and forbidden cards are never shown."""
    generator = np.random.default_rng(seed)
    is_allowed = generator.random((5, cards)) < 0.6
    rankings = rankings_of(generator.normal(size=(members, 5, cards)), slots, is_allowed)
    rows = generator.permutation(100)[:cards]
    slate = slate_of(rankings, Draws.of(generator, 5, slots), floor, rows, is_allowed, "home")
    for shown, allowed in zip(slate.content_rows, is_allowed, strict=True):
        found = shown[shown != NOTHING]
        assert len(found) == min(slots, allowed.sum())
        assert {*found.tolist()} <= {*rows[allowed].tolist()}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32))
def test_rankings_are_those_of_a_stable_sort(cards, slots, seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, size=(2, 3, cards)).astype(float)
    expected = np.argsort(-scores, axis=-1, kind="stable")[..., :slots]
    assert rankings_of(scores, slots, None).tolist() == expected.tolist()


@pytest.mark.parametrize("is_allowed", [None, "half", "none"])
@pytest.mark.parametrize("kind", ["continuous", "tied"])
def test_rankings_of_many_cards_are_those_of_a_stable_sort(kind, is_allowed):
    """The number of cards is large enough for most not to be sorted."""
    generator = np.random.default_rng(1)
    scores = generator.normal(size=(2, 5, 301))
    scores = np.round(scores * 2) if kind == "tied" else scores
    chance = {None: 1.0, "half": 0.5, "none": 0.01}[is_allowed]
    allowed = generator.random((5, 301)) < chance
    known = np.where(allowed, scores, -np.inf)
    expected = np.argsort(-known, axis=-1, kind="stable")[..., :6]
    expected = np.where(np.isneginf(np.take_along_axis(known, expected, axis=-1)), NOTHING, expected)
    assert rankings_of(scores, 6, None if is_allowed is None else allowed).tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(0, 9), st.integers(1, 8), st.floats(0, 1), st.integers(0, 2**32))
def test_one_listener_is_served_as_among_others(members, cards, slots, floor, seed):
    """The fast path for one listener equals the slow one, bit for bit."""
    generator = np.random.default_rng(seed)
    rankings = rankings_of(generator.normal(size=(members, 2, cards)), slots, None)
    draws, rows = Draws.of(generator, 2, slots), generator.permutation(100)[:cards]
    both = slate_of(rankings, draws, floor, rows, None, "home")
    alone = slate_of(rankings[:, :1], draws.for_(slice(1)), floor, rows, None, "home")
    assert alone.content_rows[0].tolist() == both.content_rows[0].tolist()
    assert alone.propensities[0].tolist() == both.propensities[0].tolist()


def test_listeners_may_be_worked_on_in_parts():
    generator = np.random.default_rng(0)
    rankings = rankings_of(generator.normal(size=(3, 10, 4)), 2, None)
    draws = Draws.of(generator, 10, 2)
    whole = slate_of(rankings, draws, 0.2, ROWS, None, "home")
    parts = [
        slate_of(rankings[:, part], draws.for_(part), 0.2, ROWS, None, "home") for part in (slice(3), slice(3, 10))
    ]
    assert np.concatenate([part.content_rows for part in parts]).tolist() == whole.content_rows.tolist()
    assert np.concatenate([part.propensities for part in parts]).tolist() == whole.propensities.tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.integers(1, 5), st.floats(0, 1), st.integers(0, 2**32))
def test_chances_of_a_slate_are_those_that_it_was_drawn_with(members, cards, slots, floor, seed):
    """The slate may come from another policy, with cards that the first might never take."""
    generator = np.random.default_rng(seed)
    is_allowed = generator.random((5, cards)) < 0.7
    rankings = rankings_of(generator.normal(size=(members, 5, cards)), slots, is_allowed)
    slate = slate_of(rankings, Draws.of(generator, 5, slots), floor, np.arange(cards), is_allowed, "home")
    chances = chances_of(rankings, slate.content_rows, floor, cards, is_allowed)
    listener, slot = np.nonzero(slate.content_rows != NOTHING)
    own = chances[listener, slot, slate.content_rows[listener, slot]]
    assert own == pytest.approx(slate.propensities[listener, slot])
    assert chances[listener, slot].sum(axis=1) == pytest.approx(1)
    others = rankings_of(generator.normal(size=(members, 5, cards)), slots, is_allowed)
    of_others = chances_of(others, slate.content_rows, floor, cards, is_allowed)
    assert of_others[listener, slot].sum(axis=1) == pytest.approx(1)
    for place in range(slots - 1):  # what is shown already has no chance
        card = slate.content_rows[:, place]
        has_card = np.flatnonzero(card != NOTHING)
        assert (of_others[has_card, place + 1 :, :][np.arange(len(has_card)), :, card[has_card]] == 0).all()
