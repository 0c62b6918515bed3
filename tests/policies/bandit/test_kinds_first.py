"""Kinds first, then cards: the policies' contract, and that the mix of kinds follows the time of day."""

import numpy as np
import pytest

from tests.contracts.policy import CANDIDATES, PolicyContract, context_of
from towers.contract.durations import HOUR_US
from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.schema import KIND_CODES
from towers.policies.bandit.kinds_first import KindsFirst, _next_kind
from towers.policies.bandit.linear import LinearThompson

PLAYLIST, EPISODE = KIND_CODES["playlist"], KIND_CODES["episode"]


def cards_first(slots, *, per_slate=False):
    return LinearThompson(features={"dim": 2}, slots=slots, members=4, per_slate=per_slate)


class TestKindsFirst(PolicyContract):
    @pytest.fixture
    def policy(self):
        return KindsFirst(policy=cards_first(3), dim=2)


class TestKindsFirstPerSlate(PolicyContract):
    """Each kind's cards are those of one member of the wrapped policy; the mix of kinds is drawn in each slot."""

    @pytest.fixture
    def policy(self):
        return KindsFirst(policy=cards_first(3, per_slate=True), dim=2)


def test_a_slot_goes_to_who_is_behind():
    """With worth 3/4 and 1/4, and one slot each so far, the first is behind by 2.25 - 1 for the third, the other by
    0.
    """
    shares, used, is_open = np.array([[0.75], [0.25], [0.0]]), np.array([[1], [1], [0]]), np.ones((3, 1), bool)
    chances = _next_kind(shares, used, is_open, 2, 0.3)
    assert chances[:, 0] == pytest.approx([0.7 + 0.1, 0.1, 0.1])
    is_open[0] = False
    chances = _next_kind(shares, used, is_open, 2, 0.3)
    assert chances[:, 0] == pytest.approx([0, 0.7 + 0.15, 0.15])


def test_the_mix_follows_the_time_of_day():
    """Episodes are streamed in the morning, playlists in the evening."""
    generator = np.random.default_rng(0)
    policy = KindsFirst(policy=cards_first(4), kind_floor=0.02)
    kinds = np.repeat([PLAYLIST, EPISODE], 8)
    cards = Candidates(content_rows=np.arange(16), vectors=generator.normal(size=(16, 2)), kinds=kinds)

    def asked(hours):
        count = len(hours)
        vectors, segments = generator.normal(size=(count, 2)), np.zeros(count, np.int64)
        return Context(user_vectors=vectors, segments=segments, times_us=hours * HOUR_US)

    for _ in range(5):
        context = asked(generator.integers(0, 24 * 70, 300))
        slate = policy.select(context, cards, generator)
        listener, rows = np.repeat(np.arange(300), 4), slate.content_rows.ravel()
        is_morning = context.times_us[listener] // HOUR_US % 24 < 12
        chances = np.where(is_morning == (kinds[rows] == EPISODE), 0.3, 0.03)
        policy.update(
            Outcomes(
                context=context.of(listener), content_rows=rows, vectors=cards.vectors[rows], kinds=kinds[rows],
                slots=np.tile(np.arange(4), 300), propensities=slate.propensities.ravel(),
                is_seen=np.ones(1_200, bool), rewards=(generator.random(1_200) < chances).astype(float),
            )
        )  # fmt: skip
    mixes = [
        (kinds[policy.select(asked(np.full(200, hour)), cards, generator).content_rows] == EPISODE).mean()
        for hour in (6, 18)
    ]
    assert mixes[0] > 0.65
    assert mixes[1] < 0.35


def test_its_settings_name_the_policy_that_it_wraps():
    told = KindsFirst(policy=cards_first(2), dim=2).settings()
    target = told["policy"].pop("_target_")
    assert target == "towers.policies.bandit.linear.LinearThompson"
    again = KindsFirst(**{**told, "policy": LinearThompson(**told["policy"])})
    slate = again.select(context_of(3), CANDIDATES, np.random.default_rng(0))
    assert slate.content_rows.shape == (3, 2)
