"""Intervals of estimates, and the evenness of weights."""

import numpy as np
import pytest

from tests.evaluation.off_policy.logs import log_of, women
from towers.evaluation.off_policy.bounds import bootstrap, empirical_bernstein
from towers.evaluation.off_policy.diagnostics import WeightDiagnostics
from towers.evaluation.off_policy.estimators import Terms, ips, snips


def drawn(listeners=400, times=1, seed=0):
    """Draws listeners, each with the same request so many times."""
    generator = np.random.default_rng(seed)
    weights, rewards = generator.exponential(size=listeners), (generator.random(listeners) < 0.4).astype(float)
    return log_of(
        requests=np.arange(listeners * times), listeners=np.repeat(np.arange(listeners), times),
        slots=np.zeros(listeners * times), propensities=np.full(listeners * times, 0.1),
        new_propensities=np.repeat(np.minimum(0.1 * weights, 1), times), rewards=np.repeat(rewards, times),
    ).slates()  # fmt: skip


def intervals(slates):
    return bootstrap({"ips": ips(slates), "snips": snips(slates)}, slates.listeners, resamples=300)


def test_the_same_said_again_makes_nothing_surer():
    once, often = intervals(drawn()), intervals(drawn(times=7))
    for name in once:
        assert often[name].mean == pytest.approx(once[name].mean)
        assert often[name].low == pytest.approx(once[name].low)
        assert often[name].high == pytest.approx(once[name].high)


def test_as_wide_as_the_normal_interval():
    slates = drawn(4_000)
    values = ips(slates).numerators[:, 0]
    half = 1.96 * values.std() / np.sqrt(len(values))
    found = intervals(slates)["ips"]
    assert found.low == pytest.approx(values.mean() - half, abs=0.2 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.2 * half)


def test_a_resample_without_weight_gives_no_bounds():
    slates = log_of(propensities=[0.5, 0.5], new_propensities=[0.5, 0.0], rewards=[1.0, 1.0]).slates()
    found = bootstrap({"snips": snips(slates)}, slates.listeners, resamples=100)["snips"]
    assert found.mean == 1
    assert np.isnan(found.low)


def test_empirical_bernstein_is_theorem_4():
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    found = empirical_bernstein(values, np.arange(5), 0.0, 1.0)
    half = np.sqrt(2 * 0.3 * np.log(2 / 0.025) / 5) + 7 * np.log(2 / 0.025) / (3 * 4)
    assert (found.mean, found.low, found.high) == pytest.approx((0.6, 0.6 - half, 0.6 + half))
    scaled = empirical_bernstein(10 * values - 3, np.arange(5), -3.0, 7.0)
    assert scaled.high - scaled.mean == pytest.approx(10 * half)


def test_empirical_bernstein_counts_listeners():
    values = np.random.default_rng(0).random(200)
    once = empirical_bernstein(values, np.arange(200), 0.0, 1.0)
    often = empirical_bernstein(np.repeat(values, 9), np.repeat(np.arange(200), 9), 0.0, 1.0)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert empirical_bernstein(values, np.zeros(200, np.int64), 0.0, 1.0).low == -np.inf
    uneven = np.repeat(np.arange(3), [1, 1, 198])
    wide = empirical_bernstein(values, uneven, 0.0, 1.0)
    assert wide.high - wide.low > 10 * (once.high - once.low)


def test_empirical_bernstein_refuses_a_value_outside_its_range():
    with pytest.raises(ValueError, match="values must lie between"):
        empirical_bernstein(np.array([0.5, 1.5]), np.arange(2), 0.0, 1.0)


def test_empirical_bernstein_holds():
    """For a chance of 1 % and 500 listeners the bounds hold in all of 300 draws; 5 % may fail."""
    generator = np.random.default_rng(1)
    for _ in range(300):
        found = empirical_bernstein((generator.random(500) < 0.01).astype(float), np.arange(500), 0.0, 1.0)
        assert found.low <= 0.01 <= found.high


def test_weights_by_hand():
    even = WeightDiagnostics.of(np.full(50, 3.0))
    assert (even.effective, even.largest_share, even.mean, even.never) == (50, 1 / 50, 3, 0)
    odd = WeightDiagnostics.of(np.array([4.0, 2.0, 0.0, 2.0]))
    assert (odd.effective, odd.effective_share) == (64 / 24, 64 / 96)
    assert (odd.largest_share, odd.largest, odd.mean, odd.never) == (1 / 2, 4, 2, 1 / 4)
    nothing = WeightDiagnostics.of(np.zeros(4))
    assert (nothing.effective, nothing.largest_share, nothing.never) == (0, 1, 1)


def test_two_requests_of_ten_thousand_are_effective():
    weights = WeightDiagnostics.of(women().slates().weights()[:, 0])
    assert weights.requests == 10_000
    assert weights.effective == pytest.approx(2.0778, abs=1e-4)
    assert weights.largest_share == pytest.approx(0.6936, abs=1e-4)


def test_terms_of_a_mean():
    assert Terms.mean(np.array([1.0, 2.0, 6.0])).value == 3
