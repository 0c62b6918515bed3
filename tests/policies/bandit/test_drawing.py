"""Slates from rankings: the chance that is logged is the chance with which a slate comes."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.contract.slate import NOTHING
from towers.policies.bandit.drawing import Draws, rankings_of, slate_of

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
    """Empty slots stand at the end, nothing stands twice, and what is not allowed is never shown."""
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
