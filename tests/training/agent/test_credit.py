"""Gradients of choices, compared with differences of the chances themselves."""

import numpy as np
import pytest

from towers.policies.agent.slates import Penalties, slots_of
from towers.training.agent.credit import PENALTIES, TopK, WholeSlate

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(3, 8, 4)).astype(np.float32)
ARTIST, REGION = RNG.integers(0, 3, (3, 8)), RNG.integers(0, 2, (3, 8))
WEIGHTS = np.array([0.5, -1.0, 0.3, 0.8, 0.4, 0.2])
CHOSEN = np.array([[0, 3, 5], [7, 1, 2], [4, 6, 0]])


def slots(weights: np.ndarray):
    penalties = Penalties(artist=weights[-2], region=weights[-1])
    return list(slots_of(FEATURES @ weights[:-PENALTIES], ARTIST, REGION, penalties, 3, chosen=CHOSEN))


def differences(of, step: float = 1e-2) -> np.ndarray:
    """Returns central differences by each weight."""
    moves = step * np.eye(len(WEIGHTS))
    return np.stack([(of(WEIGHTS + move) - of(WEIGHTS - move)) / (2 * step) for move in moves], axis=-1)


def test_a_whole_slates_gradient_is_that_of_the_logarithm_of_its_chance():
    def log_chance(weights):
        return np.sum([np.log(slot.propensities()) for slot in slots(weights)], axis=0)

    found, counts = WholeSlate().of(slots(WEIGHTS), FEATURES, np.array([0, -1, 2]))
    assert counts == pytest.approx(1.0)
    assert found == pytest.approx(differences(log_chance), abs=2e-3)


def test_top_k_credits_what_was_picked_with_the_chance_that_it_is_shown_at_all():
    picked = np.array([0, -1, 2])
    rows, place = np.arange(3), CHOSEN[np.arange(3), np.maximum(picked, 0)]

    def log_shown(weights):
        """Returns the logarithm of the chance of at least one of K draws with replacement, as equation 6 has it."""
        chance = slots(weights)[0].chances()[rows, place].astype(float)
        return np.log1p(-((1.0 - chance) ** 3))

    chance = slots(WEIGHTS)[0].chances()[rows, place].astype(float)
    # The paper's correction is the derivative of 1 - (1 - chance)^K, times the gradient of the logarithm of one draw.
    shown = 1.0 - (1.0 - chance) ** 3
    expected = differences(log_shown) * (shown / chance)[:, None]
    expected[picked < 0] = 0.0
    expected[:, -PENALTIES:] = 0.0
    found, counts = TopK().of(slots(WEIGHTS), FEATURES, picked)
    assert found * counts[:, None] == pytest.approx(expected, abs=5e-3)
