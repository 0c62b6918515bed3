"""A log's whole judgement of a policy: estimates, production, guardrails."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.off_policy.logs import log_of
from towers.evaluation.off_policy.direct_model import DirectModel
from towers.evaluation.off_policy.estimators import doubly_robust, snips
from towers.evaluation.off_policy.judge import OffPolicyJudge, effective_number

JUDGE = OffPolicyJudge(slots=2, resamples=200)


def logged(requests=300, seed=0, **changes):
    """Makes slates of three slots with all optional columns."""
    generator = np.random.default_rng(seed)
    rows = 3 * requests
    columns = {
        "requests": np.repeat(np.arange(requests), 3), "listeners": np.repeat(np.arange(requests) // 3, 3),
        "slots": np.tile([0, 1, 2], requests), "propensities": generator.uniform(0.2, 0.6, rows),
        "rewards": (generator.random(rows) < 0.4).astype(float), "kinds": generator.integers(0, 2, rows),
        "guards": {"skips": (generator.random(rows) < 0.2).astype(float), "new_cards": generator.random(rows)},
    }  # fmt: skip
    columns["new_propensities"] = np.minimum(columns["propensities"] * generator.uniform(0.5, 1.5, rows), 1)
    return log_of(**{**columns, **changes})


def test_without_a_model_nothing_is_doubly_robust():
    assert set(JUDGE.judge(logged()).estimates) == {"ips", "clipped_ips", "snips"}


def test_all_that_a_log_says():
    log = logged()
    features = np.random.default_rng(1).normal(size=(2, len(log), 4))
    result = JUDGE.judge(log, features[0], features[1])
    assert set(result.estimates) == {"ips", "clipped_ips", "snips", "direct", "dr", "switch_dr"}
    assert (result.requests, result.listeners, result.slots, len(result.weights)) == (300, 100, 2, 2)
    slates = DirectModel().estimated(log, features[0], features[1], 2).slates(2)
    assert result.estimates["dr"].mean == doubly_robust(slates).value
    assert result.estimates["snips"].mean == snips(slates).value
    for one in result.estimates.values():
        assert one.low < one.mean < one.high
    assert result.worst is min(result.weights, key=lambda one: one.effective)
    assert result.bernstein.mean == pytest.approx(result.estimates["clipped_ips"].mean)
    assert result.bernstein.low < result.estimates["clipped_ips"].low
    assert json.loads(json.dumps(result.to_json()))["estimates"]["dr"]["mean"] == result.estimates["dr"].mean


def test_production_is_the_mean_of_its_own_slates():
    log = logged()
    by_slate = log.rewards.reshape(-1, 3)[:, :2].sum(axis=1)
    assert JUDGE.judge(log).production.mean == pytest.approx(by_slate.mean())
    other = logged(seed=7, rewards=np.ones(900))
    assert JUDGE.judge(log, production=other).production.mean == 2


def test_production_judged_by_its_own_log_is_what_it_is():
    log = logged()
    log = replace(log, new_propensities=log.propensities)
    result = JUDGE.judge(log)
    for one in (*result.estimates.values(), result.guards["skips"].new):
        assert one.mean == pytest.approx(
            result.production.mean if one in result.estimates.values() else result.guards["skips"].production
        )
    assert result.worst.effective == pytest.approx(300)
    assert result.guards["kinds"].new.mean == pytest.approx(result.guards["kinds"].production)


def test_guards_by_hand():
    """There is one slot: the new policy never shows the skipped card of kind 0, and three times as often that of kind
    1.
    """
    log = log_of(
        propensities=[0.5, 0.25, 0.25], new_propensities=[0.0, 0.75, 0.25], rewards=[1, 1, 1], kinds=[0, 1, 2],
        guards={"skips": [1, 0, 0], "new_cards": [0, 0, 1]},
    )  # fmt: skip
    guards = JUDGE.judge(log).guards
    assert (guards["skips"].new.mean, guards["skips"].production) == (0, 1 / 3)
    assert (guards["new_cards"].new.mean, guards["new_cards"].production) == pytest.approx((1 / 4, 1 / 3))
    entropy = -(3 / 4 * np.log(3 / 4) + 1 / 4 * np.log(1 / 4))
    assert (guards["kinds"].new.mean, guards["kinds"].production) == pytest.approx((np.exp(entropy), 3))


def test_effective_number_of_kinds():
    shares = np.array([[1.0, 1.0, 0.0], [0.0, 5.0, 0.0], [2.0, 2.0, 2.0]])
    np.testing.assert_allclose(effective_number(shares), [2, 1, 3])


@pytest.mark.parametrize("settings", [{"slots": 0}, {"clip": 0.0}, {"switch": -1.0}, {"most_reward": 0.0}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        OffPolicyJudge(**settings)


def test_a_reward_above_the_highest_is_refused():
    with pytest.raises(ValueError, match="between 0"):
        JUDGE.judge(log_of(propensities=[0.1], new_propensities=[1.0], rewards=[5.0]))
