"""Estimators: fractions on a toy, and their mean over all possible outcomes."""

from itertools import product

import numpy as np
import pytest

from tests.evaluation.off_policy.logs import everything, log_of, women
from towers.evaluation.off_policy.estimators import (
    direct,
    doubly_robust,
    ips,
    pseudo_inverse,
    snips,
    switch_doubly_robust,
)
from towers.evaluation.off_policy.log import Weighting

WEIGHTINGS: tuple[Weighting, ...] = ("cascade", "slate", "slot")
TOY = log_of(
    propensities=[0.5, 0.5, 0.25, 0.25], new_propensities=[0.25, 0.5, 0.5, 0.0], rewards=[1.0, 0.0, 1.0, 1.0],
    estimates=[0.5, 0.5, 0.75, 0.75], new_estimates=[0.25, 0.5, 0.5, 0.75],
).slates()  # fmt: skip
"""Weights 1/2, 1, 2, 0."""


def test_fractions_on_a_toy():
    assert ips(TOY).value == (1 / 2 + 2) / 4
    assert ips(TOY, clip=1.0).value == (1 / 2 + 1) / 4
    assert snips(TOY).value == (1 / 2 + 2) / (1 / 2 + 1 + 2)
    assert direct(TOY).value == 2 / 4
    assert doubly_robust(TOY).value == (2 + 1 / 2 * 1 / 2 - 1 / 2 + 2 * 1 / 4) / 4
    assert switch_doubly_robust(TOY, 1.0).value == (2 + 1 / 2 * 1 / 2 - 1 / 2) / 4
    assert pseudo_inverse(TOY).value == ips(TOY).value


def test_one_slot_has_one_weight():
    assert len({ips(TOY, weighting).value for weighting in WEIGHTINGS}) == 1


def test_switched_off_it_is_exactly_the_other():
    slates = everything().log.slates()
    assert switch_doubly_robust(slates, np.inf).value == doubly_robust(slates).value
    assert switch_doubly_robust(slates, 0.0).value == direct(slates).value
    assert ips(slates, clip=np.inf).value == ips(slates).value


def expected(terms, chances):
    """Returns the mean over all possible outcomes."""
    return float(chances @ terms.numerators[:, 0])


@pytest.mark.parametrize("with_repeats", [False, True])
def test_unbiased_where_a_reward_depends_on_the_cards_before(with_repeats):
    told = everything(with_repeats)
    slates = told.log.slates()
    assert told.chances.sum() == pytest.approx(1)
    for terms in (ips(slates), ips(slates, "slate"), doubly_robust(slates)):
        assert expected(terms, told.chances) == pytest.approx(told.value)
    # An estimator that ignores earlier cards is biased, as is one with a model that knows nothing; clipping is too low.
    assert expected(ips(slates, "slot"), told.chances) != pytest.approx(told.value, rel=0.01)
    assert expected(direct(slates), told.chances) != pytest.approx(told.value, rel=0.01)
    assert expected(ips(slates, clip=1.5), told.chances) < told.value


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.5, 5.0, np.inf])
def test_with_the_right_model_switch_dr_is_right_at_any_threshold(threshold):
    told = everything(is_right=True)
    assert expected(switch_doubly_robust(told.log.slates(), threshold), told.chances) == pytest.approx(told.value)


@pytest.mark.parametrize("threshold", [0.3, 1.5])
def test_switch_dr_by_walking_down_each_slate(threshold):
    slates = everything().log.slates()
    estimates, new_estimates = slates.estimates, slates.new_estimates
    assert estimates is not None
    assert new_estimates is not None
    by_hand = []
    for row, weights in enumerate(slates.weights()):
        found, before = 0.0, 1.0
        for slot, weight in enumerate(weights):
            found += before * new_estimates[row, slot]
            if weight > threshold:
                break
            found += weight * (slates.rewards[row, slot] - estimates[row, slot])
            before = weight
        by_hand.append(found)
    np.testing.assert_allclose(switch_doubly_robust(slates, threshold).numerators[:, 0], by_hand)


@pytest.mark.parametrize("with_repeats", [False, True])
def test_slots_alone_are_enough_where_rewards_add_up(with_repeats):
    told = everything(with_repeats, is_additive=True)
    assert expected(ips(told.log.slates(), "slot"), told.chances) == pytest.approx(told.value)


def test_pseudo_inverse_is_that_of_its_paper():
    """It equals `q' Gamma^+ 1_s` (Swaminathan et al. 2017), the matrix of all pairs, where slots are independent."""
    told = everything(with_repeats=True, is_additive=True)
    slates = told.log.slates()
    old, new = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
    shown = [np.concatenate([np.eye(3)[one], np.eye(3)[other]]) for one, other in product(range(3), repeat=2)]
    chances = [old[one] * old[other] for one, other in product(range(3), repeat=2)]
    second_moments = sum(chance * np.outer(each, each) for chance, each in zip(chances, shown, strict=True))
    weights = np.concatenate([new, new]) @ np.linalg.pinv(second_moments) @ np.array(shown).T
    by_paper = np.repeat(weights, 4) * slates.rewards.sum(axis=1)
    np.testing.assert_allclose(pseudo_inverse(slates).numerators[:, 0], by_paper)
    assert expected(pseudo_inverse(slates), told.chances) == pytest.approx(told.value)


def test_snips_normalises_each_slot():
    told = everything()
    slates = told.log.slates()
    weights = slates.weights()
    by_slot = [(weights[:, slot] @ slates.rewards[:, slot]) / weights[:, slot].sum() for slot in (0, 1)]
    assert snips(slates).value == pytest.approx(sum(by_slot))


def test_what_the_log_lacks_is_said():
    bare = log_of(propensities=[0.5], new_propensities=[0.5], rewards=[1.0]).slates()
    with pytest.raises(ValueError, match="direct model"):
        doubly_robust(bare)
    two = log_of(
        requests=[0, 0], listeners=[0, 0], slots=[0, 1], propensities=[0.5, 0.5], new_propensities=[0.5, 0.5],
        rewards=[1.0, 0.0],
    ).slates()  # fmt: skip
    with pytest.raises(ValueError, match="slot_propensities"):
        ips(two, "slot")


def test_as_obp_on_the_open_bandit_dataset():
    """The figures are those of obp 0.5.7 for its sample (all: benchmarks/home/off_policy_parity.py)."""
    slates = women().slates()
    assert ips(slates).value == pytest.approx(0.007437577541923159, rel=1e-12)
    assert ips(slates, clip=10.0).value == pytest.approx(0.004383669186128011, rel=1e-12)
    assert snips(slates).value == pytest.approx(0.002373046143447756, rel=1e-12)
