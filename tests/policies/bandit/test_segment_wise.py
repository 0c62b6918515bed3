"""Segment-wise policies: each keeps to the contract, and chooses by its rule."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tests.contracts.policy import CANDIDATES, LISTENERS, PolicyContract, context_of, outcomes_of, same, taught
from towers.contract.policy import Candidates, Outcomes
from towers.policies.bandit.counts import Counts
from towers.policies.bandit.policy_file import built, described
from towers.policies.bandit.segment_rules import (
    BestMean,
    BetaDraws,
    Counted,
    ExploreFirst,
    Rule,
    UpperBounds,
    ties_broken,
    upper_bounds,
)
from towers.policies.bandit.segment_wise import SegmentWise

ROWS = CANDIDATES.content_rows
POLICIES: dict[str, dict[str, Any]] = {
    "thompson": {"rule": BetaDraws(), "members": 8},
    "epsilon-greedy": {"rule": BestMean(), "members": 4, "floor": 0.1},
    "popular": {"rule": BestMean(unseen=0.0), "members": 4, "by_segment": False},
    "per slate": {"rule": BetaDraws(), "members": 5, "floor": 0.2, "per_slate": True},
    "explore-then-commit": {"rule": ExploreFirst(30), "members": 4},
    "kl-ucb": {"rule": UpperBounds(), "members": 4},
}


def named(name: str, slots: int) -> SegmentWise:
    """Returns one of the policies above."""
    return SegmentWise(**POLICIES[name], slots=slots, policy_id=name)


def unfloored(rule: Rule, **keywords: Any) -> SegmentWise:
    """Makes a policy for one slot without a floor of exploration."""
    return SegmentWise(rule=rule, slots=1, floor=0.0, policy_id="unfloored", **keywords)


def shown(segment: int, rewards: Mapping[int, Sequence[float]], *, is_seen: bool = True) -> Outcomes:
    """Returns the outcomes of a segment's listeners for cards, by their rows."""
    rows = np.array([row for row, values in rewards.items() for _ in values], dtype=np.int64)
    context = context_of(LISTENERS).of(np.full(len(rows), segment))
    return Outcomes(
        context=context, content_rows=rows, vectors=np.zeros((len(rows), 2)), kinds=np.zeros(len(rows), np.int64),
        slots=np.zeros(len(rows), np.int64), propensities=np.ones(len(rows)), is_seen=np.full(len(rows), is_seen),
        rewards=np.array([value for values in rewards.values() for value in values], dtype=float),
    )  # fmt: skip


def first_shares(policy: SegmentWise, segment: int) -> dict[int, float]:
    """Returns the share of listeners of a segment for whom each card comes first."""
    asked = context_of(LISTENERS).of(np.full(2_000, segment))
    first = policy.select(asked, CANDIDATES, np.random.default_rng(0)).content_rows[:, 0]
    return {row: float((first == row).mean()) for row in ROWS.tolist()}


class Shared(PolicyContract):
    """Contract of segment-wise policies, beside the general one."""

    make: str

    @pytest.fixture
    def policy(self):
        return named(self.make, slots=3)

    def test_its_settings_build_it_again(self, policy):
        again = built(json.loads(json.dumps(described(policy))), "policy.json")
        assert again.settings() == policy.settings()
        again.restore(taught(policy).state())
        chosen = [each.select(context_of(60), CANDIDATES, np.random.default_rng(4)) for each in (policy, again)]
        assert same(*chosen)

    def test_a_listener_alone_is_chosen_for_as_among_others(self, policy):
        """The random numbers differ, the rankings do not: one card is allowed, and its chance is 1."""
        taught(policy)
        is_allowed = np.zeros((LISTENERS, len(ROWS)), dtype=bool)
        is_allowed[:, 2] = True
        candidates = Candidates(
            content_rows=ROWS, vectors=CANDIDATES.vectors, kinds=CANDIDATES.kinds, is_allowed=is_allowed
        )
        slate = policy.select(context_of(LISTENERS), candidates, np.random.default_rng(0))
        assert slate.content_rows[:, 0].tolist() == [ROWS[2]] * LISTENERS
        assert (slate.propensities == 1).all()

    def test_all_cards_allowed_is_as_none_forbidden(self, policy):
        """Both rankings, one for each segment and one for each listener, give the same slates."""
        taught(policy)
        candidates = Candidates(
            content_rows=ROWS, vectors=CANDIDATES.vectors, kinds=CANDIDATES.kinds,
            is_allowed=np.ones((50, len(ROWS)), dtype=bool),
        )  # fmt: skip
        slates = [policy.select(context_of(50), each, np.random.default_rng(2)) for each in (CANDIDATES, candidates)]
        assert same(*slates)


class TestThompson(Shared):
    make = "thompson"


class TestEpsilonGreedy(Shared):
    make = "epsilon-greedy"


class TestPopular(Shared):
    make = "popular"


class TestPerSlate(Shared):
    make = "per slate"


class TestExploreThenCommit(Shared):
    make = "explore-then-commit"


class TestKlUcb(Shared):
    make = "kl-ucb"


def test_counts_by_hand():
    counts = Counts()
    counts.add(shown(0, {7: [1, 0], 30: [0.5]}), np.array([0, 0, 1]))
    counts.add(shown(0, {2: [1]}), np.array([-1]))
    counts.add(shown(0, {2: [1]}, is_seen=False), np.array([5]))
    rows = np.array([30, 2, 7, 99])
    assert [array.tolist() for array in counts.of(0, rows)] == [[0, 0, 2, 0], [0, 0, 1, 0]]
    assert [array.tolist() for array in counts.of(1, rows)] == [[1, 0, 0, 0], [0.5, 0, 0, 0]]
    assert [array.tolist() for array in counts.of(9, rows)] == [[0, 0, 0, 0], [0, 0, 0, 0]]
    assert [array.tolist() for array in counts.of(-1, rows)] == [[1, 1, 2, 0], [0.5, 1, 1, 0]]
    counts.fade(0.5)
    assert counts.of(0, rows)[0].tolist() == [0, 0, 1, 0]
    assert counts.total == 2


@pytest.mark.parametrize("spoilt", [np.zeros(3), np.zeros((2, 1)), np.zeros((0, 4))])
def test_counts_of_another_shape_are_refused(spoilt):
    state = taught(named("thompson", slots=2)).state()
    with pytest.raises(ValueError, match="seen must be"):
        named("thompson", slots=2).restore({**state, "seen": spoilt})


def test_the_greedy_takes_the_best_of_each_segment():
    policy = unfloored(BestMean())
    policy.update(shown(0, {7: [1, 0], 2: [1, 1, 0], 30: [0], 11: [0]}))
    policy.update(shown(1, {7: [1], 2: [0], 30: [0], 11: [0]}))
    assert first_shares(policy, 0)[2] == 1
    assert first_shares(policy, 1)[7] == 1
    assert {row for row, share in first_shares(policy, 2).items() if share} == {*ROWS.tolist()}, "nothing is known"


def test_a_card_that_nobody_saw_is_tried_or_left():
    for unseen, first in ((1.0, 11), (0.0, 7)):
        policy = unfloored(BestMean(unseen))
        policy.update(shown(0, {7: [1, 1, 0], 2: [0], 30: [0]}))
        assert first_shares(policy, 0)[first] == 1


def test_exploring_comes_before_committing():
    policy = unfloored(ExploreFirst(2))
    policy.update(shown(0, {7: [1, 1], 2: [0, 0], 30: [0], 11: [0, 0, 1]}))
    assert first_shares(policy, 0)[30] == 1
    policy.update(shown(0, {30: [0]}))
    assert first_shares(policy, 0)[7] == 1


def test_upper_bounds_by_their_definition():
    """The bound is where seen * kl(mean, bound) is log(total); of a mean of 0, 1 - total ** (-1 / seen)."""
    seen, rewarded = np.array([0.0, 10.0, 40.0, 5.0]), np.array([0.0, 0.0, 10.0, 5.0])
    bounds = upper_bounds(seen, rewarded, 1_000.0)
    assert bounds[0] == pytest.approx(1)
    assert bounds[1] == pytest.approx(1 - 1_000 ** (-1 / 10), abs=1e-6)
    divergence = 0.25 * np.log(0.25 / bounds[2]) + 0.75 * np.log(0.75 / (1 - bounds[2]))
    assert 40 * divergence == pytest.approx(np.log(1_000), rel=1e-5)
    assert bounds[3] == pytest.approx(1)


def test_draws_are_of_the_posterior():
    """The posterior is Beta(1 + 30, 99 + 70), with a mean of 31 / 200."""
    counted = Counted(seen=np.array([100.0, 0.0]), rewarded=np.array([30.0, 0.0]), total=100.0)
    drawn = BetaDraws().scores(counted, 20_000, np.random.default_rng(0))
    assert drawn.mean(axis=0) == pytest.approx([31 / 200, 1 / 100], rel=0.03)
    assert drawn.var(axis=0)[0] == pytest.approx(31 * 169 / 200**2 / 201, rel=0.05)


def test_a_new_card_is_drawn_by_the_prior_until_it_is_seen():
    """Beside cards that are streamed every tenth time the pessimistic prior tries a new one now and then."""
    policy = unfloored(BetaDraws(), members=400)
    policy.update(shown(0, {row: [1] * 20 + [0] * 180 for row in (7, 2, 30)}))
    naive = unfloored(BetaDraws(beta=1.0), members=400)
    naive.restore(policy.state())
    assert first_shares(policy, 0)[11] < 0.02
    assert first_shares(naive, 0)[11] > 0.7


def test_forgetting():
    """Old outcomes weigh less than recent ones; without forgetting they do not."""
    for discount, first in ((0.3, 2), (1.0, 7)):
        policy = unfloored(BestMean(), discount=discount)
        policy.update(shown(0, {7: [1] * 9 + [0], 2: [0] * 10, 30: [0], 11: [0]}))
        for _ in range(2):
            policy.update(shown(0, {7: [0] * 4, 2: [1] * 4, 30: [0], 11: [0]}))
        assert first_shares(policy, 0)[first] == 1


def test_members_are_drawn_anew_by_each_update_and_kept_until_then():
    policy = unfloored(BetaDraws(beta=1.0), members=2)
    chosen = [first_shares(policy, 0), first_shares(policy, 0)]
    policy.update(outcomes_of(context_of(0), policy.select(context_of(0), CANDIDATES, np.random.default_rng(0))))
    assert chosen[0] == chosen[1] != first_shares(policy, 0)


def test_ties_are_broken_without_changing_what_differs():
    scores = ties_broken(np.array([0.1, 0.1 + 1e-12, 0.1, 0.9]), 50, np.random.default_rng(0))
    assert (scores.argmax(axis=1) == 3).all()
    assert (scores[:, [0, 2]].max(axis=1) < scores[:, 1]).all()
    assert 0 < (scores[:, 0] > scores[:, 2]).mean() < 1


@pytest.mark.parametrize(
    ("keywords", "message"), [({"discount": 0.0}, "discount"), ({"floor": 1.5}, "floor"), ({"members": 0}, "members")]
)
def test_wrong_keywords(keywords, message):
    with pytest.raises(ValueError, match=message):
        SegmentWise(rule=BetaDraws(), policy_id="wrong", **keywords)


@pytest.mark.parametrize(
    ("rule", "keyword", "value"),
    [(BetaDraws, "alpha", -1.0), (BetaDraws, "beta", 0.0), (ExploreFirst, "explorations", 0)],
)
def test_wrong_keywords_of_rules(rule, keyword, value):
    with pytest.raises(ValueError, match=keyword):
        rule(**{keyword: value})
