"""The hazard of the next session: draws follow it, and planted values are recovered."""

import numpy as np
import pytest
from scipy.stats import gamma, kstest

from towers.contract.durations import HOUR_US
from towers.simulation.listeners.returning import EDGES, SKIP_SHARES, Returning, fit_returning
from towers.simulation.planted.returns import HAZARD

MONDAY_US = 20_514 * 24 * HOUR_US
NEVER = np.iinfo(np.int64).max


def flat(rate: float) -> Returning:
    return Returning(
        recency=np.full(len(EDGES), rate), hour=np.ones(24), weekday=np.ones(7),
        satisfaction=np.ones(len(SKIP_SHARES) + 1), shape=2.0,
    )  # fmt: skip


def test_draws_follow_the_hazard() -> None:
    rng = np.random.default_rng(0)
    ended = MONDAY_US + rng.integers(0, 168 * HOUR_US, 4000)
    begun = HAZARD.draw(np.full(4000, 1.5), ended, ended, rng)
    came = begun < NEVER
    assert came.mean() > 0.99
    # The cumulative hazard at a return is exponential.
    assert kstest(1.5 * HAZARD.exposure_of(ended[came], begun[came]), "expon").pvalue > 0.01


def test_a_flat_hazard_has_no_memory_and_no_hours() -> None:
    rng = np.random.default_rng(1)
    ended = np.full(3000, MONDAY_US + 17 * HOUR_US + 12345)
    after = ended + 50 * HOUR_US
    waited = (flat(0.05).draw(np.ones(3000), ended, after, rng) - after) / HOUR_US
    assert (waited > 0).all()
    assert kstest(waited, "expon", (0.0, 20.0)).pvalue > 0.01


def test_exposure_adds_up() -> None:
    rng = np.random.default_rng(2)
    ended = MONDAY_US + rng.integers(0, 168 * HOUR_US, 200) // HOUR_US * HOUR_US
    hour = np.arange(168)
    of_week = np.outer(HAZARD.weekday, HAZARD.hour).ravel()
    elapsed = np.arange(50)
    rates = (
        HAZARD.recency[np.searchsorted(EDGES, elapsed, "right") - 1]
        * of_week[(hour[(ended - MONDAY_US) // HOUR_US, None] + elapsed) % 168]
    )
    assert HAZARD.exposure_of(ended, ended + 50 * HOUR_US) == pytest.approx(rates.sum(axis=1))
    # Only a part of the last hour counts.
    assert HAZARD.exposure_of(ended, ended + 10 * HOUR_US + HOUR_US // 4) == pytest.approx(
        rates[:, :10].sum(axis=1) + rates[:, 10] / 4
    )


def test_the_posterior_of_a_pace_is_that_of_counts() -> None:
    shape, rate = flat(0.05).posterior(np.array([0, 3]), np.array([0.0, 4.5]))
    assert (shape.tolist(), rate.tolist()) == ([2.0, 5.0], [2.0, 6.5])
    # The density by Bayes' rule on a grid of paces, of a listener who came back three times.
    paces = np.linspace(0.01, 6.0, 2000)
    density = gamma.pdf(paces, 2.0, scale=0.5) * paces**3 * np.exp(-4.5 * paces)
    assert (paces @ density) / density.sum() == pytest.approx(5.0 / 6.5, rel=1e-3)


def test_what_was_planted_is_found() -> None:
    rng = np.random.default_rng(3)
    number, rounds = 250, 30
    pace = rng.gamma(2.5, 1 / 2.5, number)
    lost = np.array([1.4, 1.2, 1.0, 0.7, 0.5])
    ended, parts = MONDAY_US + rng.integers(0, 168 * HOUR_US, number), []
    for _ in range(rounds):
        share = rng.random(number)
        keenness = lost[np.searchsorted(SKIP_SHARES, share, "right")]
        begun = HAZARD.draw(pace * keenness, ended, ended, rng)
        came = begun < ended + 60 * 24 * HOUR_US
        parts.append(
            (np.arange(number), ended, np.where(came, begun, ended + 60 * 24 * HOUR_US), came.astype(int), share)
        )
        ended = np.where(came, begun, ended) + HOUR_US // 2
    listener, ended, until, came_back, share = (np.concatenate(column) for column in zip(*parts, strict=True))
    found = fit_returning(listener, ended, until, came_back, share, np.ones(number))
    assert found.satisfaction / found.satisfaction[2] == pytest.approx(lost, rel=0.15)
    assert np.corrcoef(found.hour, HAZARD.hour)[0, 1] > 0.97
    assert found.shape == pytest.approx(2.5, rel=0.3)
