"""The fit finds the model that contents were drawn from."""

from dataclasses import replace

import numpy as np
import pytest

from towers.errors import DataLacks
from towers.policies.long_term import fitting
from towers.policies.long_term.fitting import days_known, fit_returns
from towers.policies.long_term.noise import moments_of
from towers.policies.long_term.outcomes import DelayedOutcomes
from towers.policies.long_term.progressive import Evidence, evidence_of, expected_returns

DAYS, CONTENTS, DIM = 12, 200, 4


def drawn(seed=2, contents=CONTENTS, pairs=8_000, oldest=20, told_by_vector=1.0):
    """Draws outcomes, vectors and true returns: chances fall with the days, from a level that partly follows from the
    vector.
    """
    draws = np.random.default_rng(seed)
    vectors = draws.normal(size=(contents, DIM))
    level = 0.25 + 0.05 * told_by_vector * vectors[:, 0] + 0.05 * draws.normal(size=contents)
    chance = np.clip(level, 0.02, 0.6)[:, None] * np.arange(1, DAYS + 1) ** -0.5
    content = draws.integers(0, contents, pairs)
    observed = np.minimum(draws.integers(0, oldest, pairs), DAYS)
    keenness = draws.uniform(0.0, 2.0, (pairs, 1))
    returned = (draws.random((pairs, DAYS)) < chance[content] * keenness) & (np.arange(DAYS) < observed[:, None])
    return DelayedOutcomes(content=content, observed=observed, returned=returned), vectors, chance.sum(axis=1)


def test_it_finds_the_mean_the_spread_and_what_the_vector_tells():
    outcomes, vectors, truth = drawn()
    fitted = fit_returns(outcomes, vectors)
    model = fitted.model
    assert model.days == DAYS
    assert model.weights @ fitted.mean_outcome == pytest.approx(truth.mean(), rel=0.05)
    unexplained = truth - np.polyval(np.polyfit(vectors[:, 0], truth, 1), vectors[:, 0])
    assert model.deviation == pytest.approx(unexplained.std(), rel=0.35)
    assert model.slope[0] == pytest.approx(np.polyfit(vectors[:, 0], truth, 1)[0], rel=0.25)
    assert 0.2 < fitted.explained <= 0.8
    new = expected_returns(model, Evidence.none(CONTENTS, DAYS), vectors)
    seen = expected_returns(model, evidence_of(model, outcomes, CONTENTS), vectors)
    assert np.corrcoef(new.expected, truth)[0, 1] > 0.6
    assert np.mean((seen.expected - truth) ** 2) < 0.6 * np.mean((new.expected - truth) ** 2)
    assert 0.7 < np.std((seen.expected - truth) / seen.deviation) < 1.4


def test_a_vector_that_tells_nothing_is_not_read_much():
    outcomes, vectors, truth = drawn(told_by_vector=0.0)
    fitted = fit_returns(outcomes, vectors)
    assert fitted.explained < 0.1
    new = expected_returns(fitted.model, Evidence.none(CONTENTS, DAYS), vectors)
    assert new.expected.std() < 0.3 * truth.std()


def test_days_that_are_told_of_some_alone_are_told_right():
    """The covariance within contents from truncated outcomes is near that from whole ones."""
    whole, _, _ = drawn(pairs=12_000, oldest=1_000)
    part = drawn(pairs=12_000, oldest=1_000)[0]
    known = np.random.default_rng(1).integers(3, DAYS + 1, len(part))
    part = replace(part, observed=np.minimum(part.observed, known))
    part = replace(part, returned=part.returned & (np.arange(DAYS) < part.observed[:, None]))
    noises = []
    for outcomes in (whole, part):
        white = moments_of(outcomes).whitening
        assert (np.diag(white) > 0).all()
        assert not np.triu(white, 1).any()
        noises.append(np.linalg.inv(white.T @ white))
    np.testing.assert_allclose(noises[1], noises[0], atol=0.03)
    assert np.abs(noises[1] - noises[0]).mean() < 0.003
    assert noises[0][0, 1] > 0.01


def test_a_content_like_no_other_is_believed_once_many_discovered_it(monkeypatch):
    """No drawn content has returns on the last days alone. The part of such a curve outside of the model's directions
    adds no return.
    """
    monkeypatch.setattr(fitting, "RANK", 2)
    outcomes, vectors, _ = drawn()
    model = fit_returns(outcomes, vectors).model
    curve = np.repeat([0.1, 0.4], DAYS // 2)
    for days in (DAYS, 7):
        number, reads = 1e7 * (np.arange(DAYS) < days), model.whitening[:days] @ curve
        evidence = Evidence(number=number[None], innovation=(number * np.append(reads, np.zeros(DAYS - days)))[None])
        first = replace(model, weights=(np.arange(DAYS) < days).astype(float))
        found = expected_returns(first, evidence, np.zeros((1, DIM)))
        assert found.expected[0] == pytest.approx(curve[:days].sum(), rel=0.01)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"pairs": 99}, "so many that are 0 days old"),
        ({"oldest": 6}, "so many that are 5 days old"),
        ({"returned": False}, "no listener came back"),
    ],
)
def test_a_log_that_does_not_do(change, line):
    never = change.pop("returned", True)
    outcomes, vectors, _ = drawn(**change)
    if not never:
        outcomes = replace(outcomes, returned=np.zeros_like(outcomes.returned))
    with pytest.raises(DataLacks, match=line):
        fit_returns(outcomes, vectors)


def test_a_shorter_log_has_a_shorter_outcome():
    outcomes, vectors, _ = drawn(oldest=10)
    assert days_known(outcomes.observed, DAYS) == 9
    assert fit_returns(outcomes, vectors).model.days == 9
    weighted = fit_returns(outcomes, vectors, weights=np.eye(DAYS)[0])
    assert weighted.model.weights.tolist() == [1, *[0] * 8]


def test_weights_and_few_contents():
    """A single content has no neighbours: the prior is its own mean, and nothing breaks."""
    outcomes, vectors, truth = drawn(contents=1, pairs=400)
    fitted = fit_returns(outcomes, vectors)
    assert fitted.model.weights @ fitted.mean_outcome == pytest.approx(truth[0], rel=0.2)
