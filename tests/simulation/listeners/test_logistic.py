"""Logistic regression with traits: planted weights are recovered, and without traits it equals scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from towers.simulation.listeners.logistic import MixedLogistic, fit_mixed_logistic, sigmoid

WEIGHTS = np.array([0.8, -0.5, 0.0])
SPREAD, BIAS = 0.9, -0.7


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws features, events, listeners of the rows, and the listeners' traits."""
    rng = np.random.default_rng(1)
    listener = np.repeat(np.arange(400), 60)
    features = rng.normal(size=(len(listener), 3)) * (1.0, 4.0, 0.2) + (0.0, 2.0, -1.0)
    traits = rng.normal(0.0, SPREAD, 400)
    chance = sigmoid(features @ WEIGHTS + BIAS + traits[listener])
    return features, rng.random(len(listener)) < chance, listener, traits


@pytest.fixture(scope="module")
def fitted(planted: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> MixedLogistic:
    features, happened, listener, _ = planted
    return fit_mixed_logistic(features, happened, listener, np.ones(400))


def test_planted_weights_and_spread_come_back(fitted: MixedLogistic) -> None:
    weights = fitted.weights / fitted.scale
    assert weights[:2] == pytest.approx(WEIGHTS[:2], rel=0.06)
    assert abs(weights[2]) < 0.2
    assert fitted.spread == pytest.approx(SPREAD, rel=0.1)
    assert float(fitted.log_odds(np.zeros((1, 3)))[0]) == pytest.approx(BIAS, abs=0.25)


def test_traits_follow_the_listeners_and_are_shrunk(
    fitted: MixedLogistic, planted: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
) -> None:
    features, happened, listener, traits = planted
    mode, deviation = fitted.traits(features, happened, listener, 401)
    assert np.corrcoef(mode[:400], traits)[0, 1] > 0.9
    assert mode[:400].std() < traits.std()
    assert (mode[400], deviation[400]) == (0.0, pytest.approx(fitted.spread))
    # A deviation is what the truth differs by: about two thirds lie within one.
    assert 0.6 < (abs(mode - np.append(traits, 0.0))[:400] < deviation[:400]).mean() < 0.76


def test_without_traits_it_is_the_library_s_own() -> None:
    rng = np.random.default_rng(2)
    features = rng.normal(size=(3000, 4))
    happened = rng.random(3000) < sigmoid(features @ [0.5, -1.0, 0.2, 0.0] + 0.3)
    # A listener for each row: the spread of traits, which nothing speaks for, must vanish for this to hold.
    ours = fit_mixed_logistic(features, happened, np.zeros(3000, int), np.ones(1))
    standard = (features - ours.mean) / ours.scale
    theirs = LogisticRegression(C=1 / 3.0, tol=1e-10, max_iter=1000).fit(standard, happened)
    assert ours.weights == pytest.approx(theirs.coef_[0], abs=2e-3)


def test_a_listener_of_weight_two_is_the_listener_twice() -> None:
    rng = np.random.default_rng(3)
    features, listener = rng.normal(size=(600, 2)), np.repeat(np.arange(30), 20)
    happened = rng.random(600) < sigmoid(features[:, 0])
    weights = np.where(np.arange(30) < 10, 2.0, 1.0)
    once = fit_mixed_logistic(features, happened, listener, weights)
    again = np.concatenate([np.arange(600), np.flatnonzero(listener < 10)])
    names = np.concatenate([listener, listener[listener < 10] + 30])
    start = MixedLogistic(mean=once.mean, scale=once.scale, weights=once.weights, bias=once.bias, spread=once.spread)
    once = fit_mixed_logistic(features, happened, listener, weights, start)
    twice = fit_mixed_logistic(features[again], happened[again], names, np.ones(40), start)
    assert once.weights == pytest.approx(twice.weights, abs=1e-4)
    assert once.spread == pytest.approx(twice.spread, rel=1e-3)
