"""The direct model: it finds linear rewards, never judges listeners by their own outcomes, and counts later slots."""

import numpy as np
import pytest

from tests.evaluation.off_policy.logs import log_of
from towers.evaluation.off_policy.direct_model import DirectModel, parts_of


def rows(count=300, slots=1, seed=0):
    """Makes a log of listeners with two requests each, and features of shown cards and of the new policy's choices."""
    generator = np.random.default_rng(seed)
    features, new_features = generator.normal(size=(2, count * slots, 3))
    requests = np.repeat(np.arange(count), slots)
    columns = {
        "requests": requests, "listeners": requests // 2, "slots": np.tile(np.arange(slots), count),
        "propensities": np.full(count * slots, 0.5), "new_propensities": np.full(count * slots, 0.5),
    }  # fmt: skip
    return columns, features, new_features, generator


WEIGHTS = np.array([0.3, -0.2, 0.1])


def test_a_linear_reward_is_found():
    columns, features, new_features, _ = rows()
    log = log_of(**columns, rewards=2 + features @ WEIGHTS)
    found = DirectModel(penalty=1e-6).estimated(log, features, new_features)
    np.testing.assert_allclose(found.estimates, 2 + features @ WEIGHTS, atol=1e-6)
    np.testing.assert_allclose(found.new_estimates, 2 + new_features @ WEIGHTS, atol=1e-6)


def test_what_is_to_come_counts():
    """The second slot's reward depends on its card; the first has its own, and the new policy's reward behind it."""
    columns, features, new_features, _ = rows(slots=2)
    # The new policy's choice behind a card depends on that card, which is what the first slot's model can learn.
    new_features[1::2] = features[0::2]
    log = log_of(**columns, rewards=1 + features @ WEIGHTS)
    found = DirectModel(penalty=1e-6).estimated(log, features, new_features)
    np.testing.assert_allclose(found.estimates[1::2], 1 + features[1::2] @ WEIGHTS, atol=1e-6)
    np.testing.assert_allclose(found.estimates[0::2], 2 + 2 * features[0::2] @ WEIGHTS, atol=1e-6)
    np.testing.assert_allclose(found.new_estimates[0::2], 2 + 2 * new_features[0::2] @ WEIGHTS, atol=1e-6)
    alone = DirectModel(penalty=1e-6).estimated(log, features, new_features, slots=1)
    np.testing.assert_allclose(alone.estimates[0::2], 1 + features[0::2] @ WEIGHTS, atol=1e-6)
    assert (alone.estimates[1::2] == 0).all()


def test_nobody_is_judged_by_what_they_did():
    columns, features, new_features, generator = rows(slots=2)
    rewards = generator.random(600)
    of_first = columns["listeners"] == 0
    others = np.where(of_first, 100.0, rewards)
    one, other = (
        DirectModel().estimated(log_of(**columns, rewards=each), features, new_features) for each in (rewards, others)
    )
    np.testing.assert_array_equal(one.estimates[of_first], other.estimates[of_first])
    np.testing.assert_array_equal(one.new_estimates[of_first], other.new_estimates[of_first])
    assert (one.estimates != other.estimates).mean() > 0.5


def test_as_each_fold_fitted_by_itself():
    """The sums without a fold are those of the other folds: they equal a least-squares regression for each fold."""
    columns, features, new_features, generator = rows()
    rewards = generator.random(300)
    model = DirectModel(folds=3, penalty=4.0)
    found = model.estimated(log_of(**columns, rewards=rewards), features, new_features)
    part = parts_of(columns["listeners"], model.folds, model.seed)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    for fold in range(3):
        is_other = part != fold
        design = np.column_stack([np.ones(300), scaled])
        pull = np.sqrt(4.0) * np.eye(4)[1:]
        weights = np.linalg.lstsq(
            np.concatenate([design[is_other], pull]), np.append(rewards[is_other], np.zeros(3)), rcond=None
        )[0]
        np.testing.assert_allclose(found.estimates[~is_other], design[~is_other] @ weights)


def test_folds_hold_whole_listeners():
    columns, *_ = rows()
    part = parts_of(columns["listeners"], 4, 0)
    assert (part[0::2] == part[1::2]).all()
    assert set(part.tolist()) == {0, 1, 2, 3}


def test_a_slot_that_one_fold_holds_alone():
    """The second slot was shown to one listener: the model that judges them knows nothing of it."""
    log = log_of(
        requests=[0, 1, 2, 2], listeners=[0, 1, 2, 2], slots=[0, 0, 0, 1], propensities=[1, 1, 1, 1],
        new_propensities=[1, 1, 1, 1], rewards=[0.0, 1.0, 1.0, 1.0],
    )  # fmt: skip
    found = DirectModel(folds=3).estimated(log, np.ones((4, 1)), np.ones((4, 1)))
    assert found.estimates is not None
    assert found.estimates[3] == 0
    assert found.estimates[2] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("settings", "words"), [({"folds": 1}, "folds must be at least 2"), ({"penalty": 0.0}, "penalty must be above 0")]
)
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises(ValueError, match=words):
        DirectModel(**settings)


def test_fewer_listeners_than_folds():
    log = log_of(propensities=[1.0], new_propensities=[1.0], rewards=[1.0])
    with pytest.raises(ValueError, match="1 listeners are fewer than 5 folds"):
        DirectModel().estimated(log, np.ones((1, 1)), np.ones((1, 1)))
