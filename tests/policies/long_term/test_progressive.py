"""The filter against textbook conditioning, and its properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.policies.long_term.outcomes import DelayedOutcomes
from towers.policies.long_term.progressive import Evidence, ReturnModel, evidence_of, expected_returns

DAYS, CONTENTS, DIM = 6, 4, 3


def model_of(seed=0, rank=DAYS, days=DAYS):
    draws = np.random.default_rng(seed)
    noise = draws.normal(size=(days, days))
    noise = noise @ noise.T + 0.5 * np.eye(days)
    return ReturnModel(
        mean=draws.normal(size=days),
        slopes=draws.normal(size=(DIM, days)),
        factor=draws.normal(size=(days, rank)),
        whitening=np.linalg.inv(np.linalg.cholesky(noise)),
        weights=draws.uniform(size=days),
    )


def outcomes_with(seed, pairs=30):
    draws = np.random.default_rng(seed)
    observed = draws.integers(0, DAYS + 1, pairs)
    returned = (draws.random((pairs, DAYS)) < 0.4) & (np.arange(DAYS) < observed[:, None])
    return DelayedOutcomes(content=draws.integers(0, CONTENTS - 1, pairs), observed=observed, returned=returned)


def conditioned(model, outcomes, vectors):
    """Returns mean and deviation of each content's return, from the joint Gaussian of its mean outcome and the
    observations.
    """
    noise = np.linalg.inv(model.whitening.T @ model.whitening)
    prior = model.factor @ model.factor.T
    found = []
    for row in range(CONTENTS):
        mean = model.mean + vectors[row] @ model.slopes
        own = np.flatnonzero(outcomes.content == row)
        seen = [np.eye(DAYS)[: outcomes.observed[place]] for place in own]
        reads = np.concatenate([np.zeros((0, DAYS)), *seen])
        values = np.concatenate([np.zeros(0), *(outcomes.returned[at, : outcomes.observed[at]] for at in own)])
        covariance = reads @ prior @ reads.T
        of_pair = np.repeat(np.arange(len(own)), outcomes.observed[own])
        covariance += (of_pair[:, None] == of_pair) * (reads @ noise @ reads.T)
        gain = prior @ reads.T @ np.linalg.inv(covariance)
        belief = mean + gain @ (values - reads @ mean)
        spread = prior - gain @ reads @ prior
        found.append((model.weights @ belief, np.sqrt(model.weights @ spread @ model.weights)))
    return np.array(found).T


@pytest.mark.parametrize("rank", [DAYS, 2])
def test_it_is_conditioning_on_whatever_prefixes_were_seen(rank):
    model, outcomes = model_of(rank=rank), outcomes_with(1)
    vectors = np.random.default_rng(2).normal(size=(CONTENTS, DIM))
    found = expected_returns(model, evidence_of(model, outcomes, CONTENTS), vectors)
    expected, deviation = conditioned(model, outcomes, vectors)
    np.testing.assert_allclose(found.expected, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.deviation, deviation, rtol=1e-9, atol=1e-9)


def test_one_day_and_one_direction_by_hand():
    """With a prior of 1 +- 2 and four listeners with noise 1 of whom two came back: precision 1/4 + 4, mean (1/4 + 2) /
    (17/4).
    """
    model = ReturnModel(
        mean=np.ones(1), slopes=np.zeros((1, 1)), factor=np.full((1, 1), 2.0), whitening=np.ones((1, 1)),
        weights=np.ones(1),
    )  # fmt: skip
    came = np.array([[True], [False], [True], [False]])
    outcomes = DelayedOutcomes(content=np.zeros(4, np.int64), observed=np.ones(4, np.int64), returned=came)
    found = expected_returns(model, evidence_of(model, outcomes, 1), np.zeros((1, 1)))
    assert found.expected.tolist() == pytest.approx([9 / 17])
    assert found.deviation.tolist() == pytest.approx([2 / np.sqrt(17)])


@settings(max_examples=15)
@given(st.integers(0, 20), st.lists(st.integers(0, DAYS), min_size=30, max_size=30))
def test_day_by_day_it_is_what_it_is_at_once(seed, before):
    model, outcomes = model_of(), outcomes_with(seed)
    since = np.minimum(before, outcomes.observed)
    at_first = DelayedOutcomes(
        content=outcomes.content, observed=since, returned=outcomes.returned & (np.arange(DAYS) < since[:, None])
    )
    told = evidence_of(model, at_first, CONTENTS) + evidence_of(model, outcomes, CONTENTS, since=since)
    at_once = evidence_of(model, outcomes, CONTENTS)
    np.testing.assert_allclose(told.innovation, at_once.innovation, atol=1e-12)
    np.testing.assert_array_equal(told.number, at_once.number)


@settings(max_examples=15)
@given(st.integers(0, 20), st.integers(0, 20))
def test_whoever_is_told_more_is_surer_and_order_does_not_matter(seed, other):
    model, first, second = model_of(), outcomes_with(seed), outcomes_with(100 + other)
    told = evidence_of(model, first, CONTENTS)
    more = told + evidence_of(model, second, CONTENTS)
    vectors = np.zeros((CONTENTS, DIM))
    before, after = (expected_returns(model, evidence, vectors) for evidence in (told, more))
    assert (after.deviation <= before.deviation + 1e-12).all()
    assert before.deviation[-1] == pytest.approx(model.deviation)
    assert before.expected[-1] == pytest.approx(model.intercept)
    order = np.random.default_rng(seed).permutation(len(first))
    np.testing.assert_allclose(evidence_of(model, first.at(order), CONTENTS).innovation, told.innovation, atol=1e-12)


def test_millions_of_listeners_leave_it_sound():
    """The posterior believes what 10^9 listeners did on all days, and no variance is below 0."""
    model = model_of(rank=DAYS)
    mean = np.linspace(0.9, 0.1, DAYS)
    evidence = Evidence(number=np.full((1, DAYS), 1e9), innovation=1e9 * (mean @ model.whitening.T)[None])
    found = expected_returns(model, evidence, np.zeros((1, DIM)))
    assert found.expected.tolist() == pytest.approx([model.weights @ mean])
    assert 0 < found.deviation[0] < 1e-3


def test_no_content_has_no_return():
    found = expected_returns(model_of(), Evidence.none(0, DAYS), np.zeros((0, DIM)))
    assert found.expected.shape == found.deviation.shape == (0,)
