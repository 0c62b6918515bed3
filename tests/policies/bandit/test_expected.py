"""Rewards that policies expect of cards, by hand and beside a known truth."""

import numpy as np
import pytest
from scipy.special import expit

from tests.contracts.policy import CANDIDATES, context_of, outcomes_of, taught
from towers.contract.policy import Outcomes, Predicts
from towers.policies.bandit.hierarchical import HierarchicalThompson
from towers.policies.bandit.linear import LinearThompson, LinUCB
from towers.policies.bandit.segment_rules import BestMean, BetaDraws, ExploreFirst, UpperBounds
from towers.policies.bandit.segment_wise import SegmentWise

POLICIES = {
    "thompson": lambda: SegmentWise(rule=BetaDraws(), policy_id="thompson", slots=2),
    "linear": lambda: LinearThompson(features={"dim": 2}, slots=2),
    "ucb": lambda: LinUCB(features={"dim": 2}, slots=2),
    "hierarchical": lambda: HierarchicalThompson(dim=2, segments=3, slots=2),
    "hierarchical, of cards": lambda: HierarchicalThompson(dim=2, reads_cards=True, slots=2),
    "hierarchical, of nothing": lambda: HierarchicalThompson(dim=0, slots=2),
}


def shown(listeners=6):
    """Returns outcomes of every candidate for every listener, in the first slot and in the second."""
    context = context_of(listeners)
    listener, card, slot = (each.ravel() for each in np.indices((listeners, len(CANDIDATES), 2)))
    return Outcomes(
        context=context.of(listener), content_rows=CANDIDATES.content_rows[card], vectors=CANDIDATES.vectors[card],
        kinds=CANDIDATES.kinds[card], slots=slot, propensities=np.ones(len(card)), is_seen=np.ones(len(card), bool),
        rewards=np.zeros(len(card)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "unseen", "seen"),
    [
        (BetaDraws(alpha=1.0, beta=4.0), 1 / 5, (1 + 2) / (5 + 3)), (BestMean(unseen=0.5), 0.5, 2 / 3),
        (ExploreFirst(), 0, 2 / 3), (UpperBounds(), 1, 2 / 3),
    ],
)  # fmt: skip
def test_a_card_by_hand(rule, unseen, seen):
    """In segment 0 the first card was seen three times and rewarded twice; in other segments never."""
    policy = SegmentWise(rule=rule, policy_id="by hand")
    rows = shown(listeners=1).of(np.array([0, 0, 0]))
    assert policy.expected(rows).tolist() == [unseen] * 3
    rows.rewards[:] = [1, 0, 1]
    policy.update(rows)
    told = policy.expected(shown(listeners=2))
    np.testing.assert_allclose(told, [seen] * 2 + [unseen] * (len(told) - 2))


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_expecting_learns_nothing(make):
    policy = make()
    assert isinstance(policy, Predicts)
    policy = taught(policy)
    before, rows = policy.state(), shown()
    expected = policy.expected(rows)
    assert ((expected >= 0) & (expected <= 1)).all()
    np.testing.assert_array_equal(expected, policy.expected(rows))
    for name, array in policy.state().items():
        np.testing.assert_array_equal(array, before[name])
    assert not len(policy.expected(rows.of(slice(0))))


@pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)
def test_what_is_expected_is_what_came(make):
    """Listeners stream a card the more likely the nearer it is, which all but the last policy can learn."""
    policy, context = make(), context_of(3_000)
    for seed in range(6):
        policy.update(outcomes_of(context, policy.select(context, CANDIDATES, np.random.default_rng(seed)), seed))
    told = outcomes_of(context, policy.select(context, CANDIDATES, np.random.default_rng(9)), 9)
    told = told.of(told.is_seen)
    assert policy.expected(told).mean() == pytest.approx(told.rewards.mean(), abs=0.03)


def test_hierarchical_expects_the_middle_of_its_draws():
    """The mean of many draws is the logit of the expected reward."""
    policy = taught(HierarchicalThompson(dim=2, segments=3, slots=2, members=20_000, has_slot_offsets=False))
    rows = shown(listeners=3)
    policy._prepare(CANDIDATES)
    logits = policy._scores(context_of(3), CANDIDATES).mean(axis=0, dtype=float)
    np.testing.assert_allclose(policy.expected(rows), expit(np.repeat(logits.ravel(), 2)), atol=0.02)


def test_hierarchical_expects_of_a_new_card_what_its_kind_is_worth():
    policy = taught(HierarchicalThompson(dim=2, segments=3, slots=2))
    new = shown(listeners=3)
    new.content_rows[:] = 99
    expected = policy.expected(new)
    assert len({expected[new.kinds == kind].mean() for kind in set(CANDIDATES.kinds)}) == 3
    # A slot in which little was seen has an offset.
    late = taught(HierarchicalThompson(dim=0, slots=2, always_seen=1)).expected(new)
    assert (late[new.slots == 0] != late[new.slots == 1]).all()
