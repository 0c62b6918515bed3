"""Habits of listeners: a Dirichlet prior is recovered, and gives means from counts."""

import numpy as np
import pytest

from towers.simulation.listeners.sessions import Habits, fit_habits


def test_a_planted_prior_is_found() -> None:
    rng = np.random.default_rng(0)
    prior = np.array([3.0, 1.0, 0.5])
    counts = np.stack([rng.multinomial(30, rng.dirichlet(prior)) for _ in range(1500)]).astype(float)
    counts[:100] = 0.0
    assert fit_habits(counts, np.ones(1500)).prior == pytest.approx(prior, rel=0.12)


def test_who_was_never_seen_is_taken_to_be_as_the_population() -> None:
    habits = Habits(prior=np.array([3.0, 1.0]))
    assert habits.of_counts(np.array([[0.0, 0.0], [0.0, 4.0]])).tolist() == [[3 / 4, 1 / 4], [3 / 8, 5 / 8]]
