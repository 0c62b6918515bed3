"""What every policy has to do: choose candidates, by the given generator alone, and log the true chance of each."""

from collections import Counter

import numpy as np
import pytest

from towers.contract.policy import Candidates, Context, Policy

CONTEXT = Context(user_vector=np.array([1.0, 0.0]), time_us=1_767_225_600_000_000)
CANDIDATES = Candidates(content_rows=np.array([7, 2, 30, 11]), scores=np.array([0.1, 0.9, 0.4, -0.3]))
DRAWS = 4_000


class PolicyContract:
    """A policy's tests inherit from it, and give a fixture `policy`."""

    def test_it_is_a_policy(self, policy):
        assert isinstance(policy, Policy)
        assert policy.policy_id

    def test_it_chooses_candidates(self, policy):
        for seed in range(20):
            slate = policy.choose(CONTEXT, CANDIDATES, np.random.default_rng(seed))
            assert set(slate.content_rows.tolist()) <= set(CANDIDATES.content_rows.tolist())

    def test_without_candidates_the_slate_is_empty(self, policy):
        nothing = Candidates(content_rows=np.zeros(0, np.int64), scores=np.zeros(0))
        assert len(policy.choose(CONTEXT, nothing, np.random.default_rng(0))) == 0

    def test_it_draws_from_the_given_generator_alone(self, policy):
        state = np.random.get_state  # of the process's generator, which a policy leaves alone
        before = state()[1].copy()
        first = policy.choose(CONTEXT, CANDIDATES, np.random.default_rng(3))
        again = policy.choose(CONTEXT, CANDIDATES, np.random.default_rng(3))
        assert first.content_rows.tolist() == again.content_rows.tolist()
        assert first.propensities.tolist() == again.propensities.tolist()
        assert (state()[1] == before).all()

    def test_slates_come_as_often_as_their_propensities_say(self, policy):
        """The product of the propensities is the slate's chance; 5 standard deviations are allowed."""
        generator = np.random.default_rng(0)
        found: Counter[tuple[int, ...]] = Counter()
        chance = {}
        for _ in range(DRAWS):
            slate = policy.choose(CONTEXT, CANDIDATES, generator)
            rows = tuple(slate.content_rows.tolist())
            found[rows] += 1
            assert chance.setdefault(rows, slate.propensities.prod()) == pytest.approx(slate.propensities.prod())
        for rows, times in found.items():
            spread = np.sqrt(DRAWS * chance[rows] * (1 - chance[rows]))
            assert abs(times - DRAWS * chance[rows]) <= 5 * spread + 1e-6
