"""The protocol on two toys that can be solved in the head: the best first, and any at random."""

import re

import numpy as np
import pytest

from tests.contracts.policy import CANDIDATES, CONTEXT, PolicyContract
from towers.contract.policy import Candidates, Context, Policy
from towers.contract.slate import Slate


class BestFirst:
    policy_id = "best first"

    def choose(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        rows = candidates.content_rows[np.argsort(-candidates.scores, kind="stable")][:2]
        return Slate(content_rows=rows, propensities=np.ones(len(rows)), shelf="home")


class AnyTwo:
    policy_id = "any two"

    def choose(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        rows = generator.permutation(candidates.content_rows)[:2]
        return Slate(content_rows=rows, propensities=1 / (len(candidates) - np.arange(len(rows))), shelf="home")


class TestBestFirst(PolicyContract):
    @pytest.fixture
    def policy(self):
        return BestFirst()

    def test_by_hand(self, policy):
        slate = policy.choose(CONTEXT, CANDIDATES, np.random.default_rng(0))
        assert slate.content_rows.tolist() == [2, 30]
        assert slate.propensities.tolist() == [1, 1]


class TestAnyTwo(PolicyContract):
    @pytest.fixture
    def policy(self):
        return AnyTwo()

    def test_by_hand(self, policy):
        slate = policy.choose(CONTEXT, CANDIDATES, np.random.default_rng(0))
        assert slate.propensities.tolist() == [1 / 4, 1 / 3]


class Untrue(AnyTwo):
    def choose(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        slate = super().choose(context, candidates, generator)
        return Slate(content_rows=slate.content_rows, propensities=slate.propensities / 2, shelf=slate.shelf)


def test_the_check_of_propensities_is_itself_checked():
    with pytest.raises(AssertionError):
        PolicyContract().test_slates_come_as_often_as_their_propensities_say(Untrue())


def test_what_lacks_a_name_is_no_policy():
    class Nameless:
        choose = BestFirst.choose

    assert not isinstance(Nameless(), Policy)


@pytest.mark.parametrize(
    ("rows", "scores", "line"),
    [([1, 2], [0.5], "2 content_rows have 1 scores"), ([1, 1], [0.5, 0.5], "content_rows must differ")],
)
@pytest.mark.unhooked
def test_candidates_that_will_not_do(rows, scores, line):
    with pytest.raises(ValueError, match=f"^{re.escape(line)}"):
        Candidates(content_rows=np.array(rows), scores=np.array(scores))
