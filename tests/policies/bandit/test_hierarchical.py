"""The policy whose cards share a prior: the contract, its parts by hand, and its belief about a new card."""

import numpy as np
import pytest
from scipy.special import expit, logit

from tests.contracts.policy import CANDIDATES, PolicyContract, context_of, same, taught
from towers.contract.policy import Candidates, Context, Outcomes
from towers.policies.bandit.card_posteriors import Batch, Evidence, learned, posterior
from towers.policies.bandit.deviations import Deviations
from towers.policies.bandit.hierarchical import HierarchicalThompson
from towers.policies.bandit.slot_offsets import slot_offsets


class TestHierarchicalThompson(PolicyContract):
    @pytest.fixture
    def policy(self):
        return HierarchicalThompson(dim=2, segments=3, reads_cards=True, slots=2, members=5, keep=0.9, per_slate=False)


class TestHierarchicalThompsonPerSlate(PolicyContract):
    @pytest.fixture
    def policy(self):
        return HierarchicalThompson(dim=2, segments=3, slots=2, members=5, floor=0.2, per_slate=True)


def outcomes(cards, rewards, users, slots=None, segments=None):
    count = len(cards)
    zeros = np.zeros(count, dtype=np.int64)
    context = Context(
        user_vectors=users, segments=zeros if segments is None else segments, times_us=zeros
    )  # fmt: skip
    return Outcomes(
        context=context, content_rows=cards, vectors=np.zeros((count, 0)), kinds=zeros,
        slots=zeros if slots is None else slots, propensities=np.ones(count), is_seen=np.ones(count, dtype=bool),
        rewards=rewards.astype(float),
    )  # fmt: skip


def test_its_settings_make_it_again():
    policy = HierarchicalThompson(dim=2, segments=3, slots=2, members=4)
    again = HierarchicalThompson(**policy.settings())
    taught(policy)
    again.restore(policy.state())
    generators = [np.random.default_rng(3) for _ in range(2)]
    slates = [one.select(context_of(5), CANDIDATES, g) for one, g in zip((policy, again), generators, strict=True)]
    assert same(*slates)


def test_one_intercept_is_the_mode_of_its_posterior():
    """The mode is where the slope of the log posterior is 0: 30 - 100 p = w, with a prior N(0, 1)."""
    batch = Batch(
        cards=np.zeros(100, np.int64), features=np.ones((100, 1)), offsets=np.zeros(100),
        rewards=(np.arange(100) < 30).astype(float),
    )  # fmt: skip
    evidence = learned(Evidence.none(2, 1), batch, np.zeros((2, 1)), np.eye(1))
    means, precision = posterior(evidence, np.zeros((2, 1)), np.eye(1))
    chance = expit(means[0, 0])
    assert 30 - 100 * chance == pytest.approx(means[0, 0], abs=1e-3)
    assert precision[0, 0, 0] == pytest.approx(1 + 100 * chance * (1 - chance), rel=1e-3)
    assert (means[1, 0], precision[1, 0, 0]) == (0, 1)


def test_two_batches_teach_about_what_one_does():
    generator = np.random.default_rng(0)
    features = np.column_stack([np.ones(4_000), generator.normal(size=(4_000, 2))])
    cards = np.sort(generator.integers(0, 3, 4_000))
    weights = np.array([[-1.0, 1, 0], [-2, 0, 1], [0, -1, -1]])
    rewards = (generator.random(4_000) < expit((features * weights[cards]).sum(axis=1))).astype(float)

    def after(*parts):
        evidence = Evidence.none(3, 3)
        for part in parts:
            batch = Batch(
                cards=cards[part], features=features[part], offsets=np.zeros(len(cards[part])), rewards=rewards[part]
            )
            evidence = learned(evidence, batch, np.zeros((3, 3)), np.eye(3))
        return posterior(evidence, np.zeros((3, 3)), np.eye(3))[0]

    once, twice = after(slice(None)), after(slice(0, None, 2), slice(1, None, 2))
    assert once == pytest.approx(weights, abs=0.25)
    assert twice == pytest.approx(once, abs=0.05)


def test_a_segment_deviates_as_far_as_its_outcomes_say():
    """It moves by one step from 0: a slope of 40 - 100 / 2 over an information of 100 / 4 and a prior of 1 /
    variance.
    """
    none = Deviations.none(1, 2, 0.25)
    cards, segments = np.zeros(100, np.int64), np.full(100, 1)
    told = none.learned(cards, segments, np.full(100, 0.5), (np.arange(100) < 40).astype(float))
    assert told.shift[0].tolist() == [0, -10]
    assert told.precision[0].tolist() == [0, 25]
    means = none.learned(cards, segments, np.full(100, 0.5), np.full(100, 0.4)).means(cards[:2], np.array([1, -1]))
    assert means == pytest.approx([-10 / (25 + 1 / told.variance), 0])


def test_a_slot_that_is_seen_only_when_it_is_streamed_says_nothing():
    """In the second slot the same cards are rewarded at odds five times as high; in the third always."""
    generator = np.random.default_rng(0)
    slots = np.repeat(np.arange(3), 20_000)
    logits = generator.normal(-2, 0.5, size=len(slots))
    truth = np.where(slots == 1, np.log(5), np.where(slots == 2, np.inf, 0))
    rewards = (generator.random(len(slots)) < expit(logits + truth)).astype(float)
    first, second, third = slot_offsets(np.zeros(3), logits - 0.7, slots, rewards, 1)
    assert first == 0
    assert second == pytest.approx(np.log(5), abs=0.1)
    assert third > 8


def streams(generator, cards, users, intercepts, tastes):
    chances = expit(intercepts[cards] + (users * tastes[cards]).sum(axis=1))
    return generator.random(len(cards)) < chances


def test_a_card_that_nobody_has_seen_is_thought_to_be_as_others_are():
    """Cards are streamed about a fifth of the time; the new one is drawn there, and lower for a low quantile."""
    generator = np.random.default_rng(0)
    intercepts = logit(0.2) + 0.5 * generator.normal(size=200)
    cards = generator.integers(0, 200, 20_000)
    rewards = streams(generator, cards, np.zeros((20_000, 1)), intercepts, np.zeros((200, 1)))
    new = Candidates(content_rows=np.array([500]), vectors=np.zeros((1, 0)), kinds=np.zeros(1, np.int64))
    means = []
    for quantile in (0.5, 0.1):
        policy = HierarchicalThompson(dim=0, members=400, breadth=1.0, cold_quantile=quantile)
        policy.update(outcomes(cards, rewards, np.zeros((20_000, 0))))
        policy._prepare(new)
        drawn = policy._card_weights[:, 0, 0]
        means.append(drawn.mean())
        assert drawn.std() == pytest.approx(0.5, rel=0.25)
    assert means[0] == pytest.approx(logit(0.2), abs=0.12)
    assert means[0] - means[1] == pytest.approx(1.28 * 0.5, rel=0.3)


@pytest.mark.parametrize("reads_cards", [False, True])
def test_it_learns_whom_a_card_is_for(reads_cards):
    """Each of two cards is loved by half of the listeners; no listener loves the others."""
    generator = np.random.default_rng(0)
    tastes = np.zeros((20, 3))
    tastes[0, 0], tastes[1, 0] = 3, -3
    cards = Candidates(
        content_rows=np.arange(20), vectors=tastes if reads_cards else np.zeros((20, 0)), kinds=np.zeros(20, np.int64)
    )
    policy = HierarchicalThompson(dim=3, slots=1, members=4, reads_cards=reads_cards)
    for _ in range(6):
        users = generator.normal(size=(500, 3))
        zeros = np.zeros(500, np.int64)
        slate = policy.select(Context(user_vectors=users, segments=zeros, times_us=zeros), cards, generator)
        shown = slate.content_rows[:, 0]
        told = outcomes(shown, streams(generator, shown, users, np.full(20, -2.0), tastes), users)
        told = Outcomes(**{**{name: getattr(told, name) for name in told.__slots__}, "vectors": cards.vectors[shown]})
        policy.update(told)
    is_clear = np.abs(users[:, 0]) > 0.7
    assert (shown == (users[:, 0] < 0))[is_clear].mean() > 0.8


def test_cards_that_turned_are_forgotten_and_those_that_stayed_are_not():
    """Of two hundred cards most change overnight; of those that are not shown then an equal share is forgotten."""
    generator = np.random.default_rng(0)
    chances = expit(generator.normal(-2, 1.5, size=200))
    policy = HierarchicalThompson(dim=0, slots=1, members=2)

    def played(cards):
        policy.update(outcomes(cards, generator.random(len(cards)) < chances[cards], np.zeros((len(cards), 0))))
        return policy._evidence.precision[:, 0, 0]

    for _ in range(10):
        before = played(np.repeat(np.arange(200), 100))
    chances[20:100] = 0.7
    after = played(np.repeat(np.arange(100), 100))
    assert (after[20:100] < 30).mean() >= 0.8  # the precision left is that of one batch of 100 at .7, not of ten
    assert (after[:20] > before[:20] / 2).mean() >= 0.6
    left = after[100:] / before[100:]
    assert left == pytest.approx(left[0])
    assert 0.1 < left[0] < 0.5


def test_nothing_is_forgotten_where_nothing_turns():
    generator = np.random.default_rng(0)
    policies = [HierarchicalThompson(dim=0, slots=1, members=2, change_chance=chance) for chance in (0.0, 1e-3)]
    chances = expit(generator.normal(-3, 1, size=100))
    for _ in range(8):
        cards = np.sort(generator.integers(0, 100, 2_000))
        told = outcomes(cards, generator.random(2_000) < chances[cards], np.zeros((2_000, 0)))
        for policy in policies:
            policy.update(told)
    assert policies[0]._evidence.precision == pytest.approx(policies[1]._evidence.precision, rel=0.02)


def test_without_forgetting_it_holds_on_to_what_was_true():
    generator = np.random.default_rng(0)
    cards = np.repeat([0, 1], 500)
    thoughts = {}
    for keep in (1.0, 0.5):
        policy = HierarchicalThompson(dim=0, slots=1, members=2, keep=keep, change_chance=0.0)
        for chances in [np.array([0.4, 0.1])] * 12 + [np.array([0.1, 0.4])] * 5:
            policy.update(outcomes(cards, generator.random(1_000) < chances[cards], np.zeros((1_000, 0))))
        thoughts[keep] = policy._weights[:, 0].mean(axis=1)
    assert thoughts[1.0][0] > thoughts[1.0][1]
    assert thoughts[0.5][0] < thoughts[0.5][1]
