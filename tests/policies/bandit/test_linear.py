"""Linear policies over vectors: the policies' contract, and that they learn a planted taste."""

import numpy as np
import pytest

from tests.contracts.policy import CANDIDATES, PolicyContract, context_of, same, taught
from towers.contract.policy import Candidates, Context, Outcomes
from towers.policies.bandit.features import Features
from towers.policies.bandit.linear import Head, LinearThompson, LinUCB


class TestLinearThompson(PolicyContract):
    @pytest.fixture
    def policy(self):
        features = Features(dim=2, projection=[[1.0], [-1.0]])
        return LinearThompson(features=features, slots=2, members=5, keep=0.9)


class TestLinearThompsonPerSlate(PolicyContract):
    @pytest.fixture
    def policy(self):
        return LinearThompson(features={"dim": 2}, slots=2, members=5, floor=0.2, per_slate=True)


class TestLinUCB(PolicyContract):
    @pytest.fixture
    def policy(self):
        return LinUCB(features={"dim": 2}, slots=2)


@pytest.mark.parametrize("kind", [LinearThompson, LinUCB])
def test_its_settings_make_it_again(kind):
    policy = kind(features={"dim": 2, "pairs": []}, slots=2, floor=0.1)
    again = kind(**policy.settings())
    assert again.settings() == policy.settings()
    taught(policy)
    again.restore(policy.state())
    generators = [np.random.default_rng(3) for _ in range(2)]
    slates = [one.select(context_of(5), CANDIDATES, g) for one, g in zip((policy, again), generators, strict=True)]
    assert same(*slates)


def test_the_head_is_bayes_rule():
    """For one weight and two outcomes the precision is 1 / .5 ** 2 + 2 / 1 ** 2 = 6, the mean (4 * .1 + 1.5) / 6."""
    head = Head(1, prior_reward=0.1, prior_spread=0.5, noise=1.0, keep=1.0)
    head.learn(np.ones((2, 1)), np.array([1.0, 0.5]))
    mean, precision = head.posterior()
    assert precision.tolist() == [[6]]
    assert mean == pytest.approx([1.9 / 6])


def test_what_has_faded_comes_near_the_prior():
    heads = [Head(1, prior_reward=0.1, prior_spread=0.5, noise=1.0, keep=keep) for keep in (1.0, 0.5)]
    for head in heads:
        head.learn(np.ones((9, 1)), np.ones(9))
        for _ in range(20):
            head.learn(np.zeros((0, 1)), np.zeros(0))
    kept, faded = (head.posterior()[0][0] for head in heads)
    assert kept > 0.7
    assert faded == pytest.approx(0.1, abs=1e-4)


def test_the_noise_is_fitted():
    generator = np.random.default_rng(0)
    rows = np.column_stack([generator.normal(size=4_000), np.ones(4_000)])
    head = Head(2, prior_reward=0.0, prior_spread=1.0, noise=None, keep=1.0)
    head.learn(rows, rows @ [0.5, 0.2] + 0.3 * generator.normal(size=4_000))
    mean, precision = head.posterior()
    assert mean == pytest.approx([0.5, 0.2], abs=0.03)
    assert np.sqrt(4_000 / precision[0, 0]) == pytest.approx(0.3, rel=0.1)


def first_choices(policy, rounds):
    """Returns the share of listeners who get the card that they like best first, round by round; a world of 30
    cards.
    """
    generator = np.random.default_rng(0)
    cards = Candidates(content_rows=np.arange(30), vectors=generator.normal(size=(30, 6)), kinds=np.zeros(30, np.int64))
    taste = np.array([1.0, 1.0, -1.0, -1.0, 0.0, 0.0])  # the space's own order is wrong in two directions
    shares = []
    for _ in range(rounds):
        users = generator.normal(size=(300, 6))
        worth = (users * taste) @ cards.vectors.T
        context = Context(user_vectors=users, segments=np.zeros(300, np.int64), times_us=np.zeros(300, np.int64))
        slate = policy.select(context, cards, generator)
        shown = slate.content_rows[:, 0]
        shares.append((shown == worth.argmax(axis=1)).mean())
        policy.update(
            Outcomes(
                context=context, content_rows=shown, vectors=cards.vectors[shown], kinds=cards.kinds[shown],
                slots=np.zeros(300, np.int64), propensities=slate.propensities[:, 0], is_seen=np.ones(300, bool),
                rewards=(worth[np.arange(300), shown] + generator.normal(size=300) > 1).astype(float),
            )
        )  # fmt: skip
    return shares


@pytest.mark.parametrize("kind", [LinearThompson, LinUCB])
def test_it_learns_which_directions_count(kind):
    shares = first_choices(kind(features={"dim": 6, "has_times": False}, slots=1), 12)
    assert shares[0] < 0.4
    assert np.mean(shares[-3:]) > 0.7
