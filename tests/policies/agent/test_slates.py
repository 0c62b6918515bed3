"""Slates by Plackett and Luce: every slate's chance, and the effect of contents that are in it already."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.policies.agent.slates import Penalties, slots_of

NONE = Penalties()


def chance_of(scores: np.ndarray, codes: np.ndarray, penalties: Penalties, chosen: tuple[int, ...]) -> float:
    """Returns the chance of one slate, by multiplying."""
    slots = slots_of(scores[None], codes[None], codes[None] // 2, penalties, len(chosen), chosen=np.array([chosen]))
    return float(np.prod([slot.propensities()[0] for slot in slots]))


@settings(max_examples=8)
@given(st.lists(st.floats(-3, 3), min_size=4, max_size=5), st.floats(0, 2), st.floats(0, 2))
def test_chances_of_all_slates_sum_to_one(scores, artist, region):
    codes = np.arange(len(scores)) // 2
    given_ = np.array(scores), codes, Penalties(artist=artist, region=region)
    total = sum(chance_of(*given_, chosen) for chosen in permutations(range(len(scores)), 3))
    assert total == pytest.approx(1.0, abs=1e-5)


def test_without_penalties_the_chance_is_plackett_and_luces():
    scores = np.array([0.3, -1.0, 2.0, 0.5])
    weight = np.exp(scores)
    expected = weight[2] / weight.sum() * weight[0] / (weight.sum() - weight[2])
    assert chance_of(scores, np.arange(4), NONE, (2, 0)) == pytest.approx(expected, rel=1e-5)


def test_slates_are_drawn_as_often_as_their_chance_says():
    scores, codes, penalties = np.array([1.0, 0.5, 0.0, -1.0]), np.array([0, 0, 1, 1]), Penalties(artist=1.5)
    number = 20_000
    tiled = [np.tile(column, (number, 1)) for column in (scores, codes, np.full(4, -1))]
    slots = list(slots_of(*tiled, penalties, 2, np.random.default_rng(0)))
    drawn = np.stack([slot.place for slot in slots], axis=1)
    chances = np.prod([slot.propensities() for slot in slots], axis=0)
    for chosen in permutations(range(4), 2):
        is_it = (drawn == chosen).all(axis=1)
        expected = chance_of(scores, codes, penalties, chosen)
        assert is_it.mean() == pytest.approx(expected, abs=0.012)  # four standard errors
        if is_it.any():
            assert chances[is_it] == pytest.approx(expected, rel=1e-5)


def test_a_penalty_brings_another_artist_and_unknown_artists_are_not_alike():
    scores, region = np.array([[3.0, 2.9, 2.0]]), np.full((1, 3), -1)
    best = [slot.place[0] for slot in slots_of(scores, np.array([[7, 7, 8]]), region, Penalties(artist=1.0), 2)]
    unknown = [slot.place[0] for slot in slots_of(scores, np.full((1, 3), -1), region, Penalties(artist=1.0), 2)]
    assert best == [0, 2]
    assert unknown == [0, 1]


def test_an_empty_place_is_never_chosen_while_there_is_another():
    scores = np.array([[-np.inf, -5.0, 1.0]])
    codes = np.array([[0, 1, 2]])
    for rng in (None, np.random.default_rng(1)):
        assert {slot.place[0] for slot in slots_of(scores, codes, codes, Penalties(region=50.0), 2, rng)} == {1, 2}
