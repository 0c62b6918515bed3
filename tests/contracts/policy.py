"""Contract of every policy: it chooses candidates, by the given generator alone, logs the true chance of each, learns
from outcomes, and goes on from its state as if it had never stopped.
"""

from collections import Counter

import numpy as np
import pytest

from towers.contract.policy import Candidates, Context, Outcomes, Policy
from towers.contract.slate import NOTHING, Slate

LISTENERS, DRAWS = 3, 6_000
CANDIDATES = Candidates(
    content_rows=np.array([7, 2, 30, 11]),
    vectors=np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]]),
    kinds=np.array([4, 4, 1, 3]),
)


def context_of(listeners: int) -> Context:
    """Returns a context of three listeners, repeated in turn."""
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    at = np.arange(listeners) % len(vectors)
    times = np.full(listeners, 1_767_225_600_000_000)
    return Context(user_vectors=vectors[at], segments=at, times_us=times)


def outcomes_of(context: Context, slate: Slate, seed: int = 0) -> Outcomes:
    """Returns the outcomes of a slate: listeners stream cards near them, and see only the first slots."""
    generator = np.random.default_rng(seed)
    listener, slot = np.nonzero(slate.content_rows != NOTHING)
    rows = slate.content_rows[listener, slot]
    place = np.array([CANDIDATES.content_rows.tolist().index(row) for row in rows], dtype=np.int64)
    fits = (context.user_vectors[listener] * CANDIDATES.vectors[place]).sum(axis=1)
    return Outcomes(
        context=context.of(listener),
        content_rows=rows,
        vectors=CANDIDATES.vectors[place],
        kinds=CANDIDATES.kinds[place],
        slots=slot,
        propensities=slate.propensities[listener, slot],
        is_seen=slot < 2,
        rewards=(generator.random(len(rows)) < np.clip(fits, 0.05, 0.95)).astype(float),
    )


def taught(policy: Policy) -> Policy:
    """Returns the policy after a few batches of outcomes."""
    context = context_of(60)
    for seed in range(3):
        slate = policy.select(context, CANDIDATES, np.random.default_rng(seed))
        policy.update(outcomes_of(context, slate, seed))
    return policy


def same(one: Slate, other: Slate) -> bool:
    """Returns whether two slates are equal, bit for bit."""
    rows = np.array_equal(one.content_rows, other.content_rows)
    return rows and np.array_equal(one.propensities, other.propensities) and one.shelf == other.shelf


class PolicyContract:
    """A policy's tests inherit from it, and give a fixture `policy`: a new one that has learned nothing, for each
    test.
    """

    def test_it_is_a_policy(self, policy):
        assert isinstance(policy, Policy)
        assert policy.policy_id

    @pytest.mark.parametrize("is_taught", [False, True])
    def test_it_chooses_candidates(self, policy, is_taught):
        policy = taught(policy) if is_taught else policy
        for seed in range(20):
            slate = policy.select(context_of(LISTENERS), CANDIDATES, np.random.default_rng(seed))
            assert slate.content_rows.shape == (LISTENERS, policy.slots)
            assert {*slate.content_rows.ravel().tolist()} - {NOTHING} <= {*CANDIDATES.content_rows.tolist()}

    def test_what_is_not_allowed_is_not_chosen(self, policy):
        is_allowed = np.array([[False, False, False, False], [False, True, False, False], [True, True, True, True]])
        candidates = Candidates(
            content_rows=CANDIDATES.content_rows, vectors=CANDIDATES.vectors, kinds=CANDIDATES.kinds,
            is_allowed=is_allowed,
        )  # fmt: skip
        slate = policy.select(context_of(LISTENERS), candidates, np.random.default_rng(0))
        shown = [{*rows.tolist()} - {NOTHING} for rows in slate.content_rows]
        assert [len(rows) for rows in shown] == [0, 1, min(policy.slots, 4)]
        assert shown[1] == {2}

    def test_without_candidates_the_slate_is_empty(self, policy):
        nothing = Candidates(
            content_rows=np.zeros(0, np.int64), vectors=np.zeros((0, 2)), kinds=np.zeros(0, np.int64)
        )  # fmt: skip
        slate = policy.select(context_of(LISTENERS), nothing, np.random.default_rng(0))
        assert (slate.content_rows == NOTHING).all()

    def test_it_draws_from_the_given_generator_alone(self, policy):
        state = np.random.get_state  # of the process's generator, which a policy leaves alone
        before = state()[1].copy()
        first = policy.select(context_of(LISTENERS), CANDIDATES, np.random.default_rng(3))
        assert same(first, policy.select(context_of(LISTENERS), CANDIDATES, np.random.default_rng(3)))
        assert (state()[1] == before).all()

    @pytest.mark.parametrize("is_taught", [False, True])
    def test_slates_come_as_often_as_their_propensities_say(self, policy, is_taught):
        """The product of the propensities is the slate's chance; 5 standard deviations are allowed."""
        policy = taught(policy) if is_taught else policy
        context = context_of(DRAWS * LISTENERS)
        slate = policy.select(context, CANDIDATES, np.random.default_rng(0))
        products = slate.propensities.prod(axis=1)
        for segment in range(LISTENERS):
            is_own = context.segments == segment
            found: Counter[tuple[int, ...]] = Counter(map(tuple, slate.content_rows[is_own].tolist()))
            chance: dict[tuple[int, ...], float] = {}
            for rows, product in zip(slate.content_rows[is_own].tolist(), products[is_own], strict=True):
                assert chance.setdefault(tuple(rows), product) == pytest.approx(product)
            for rows, times in found.items():
                spread = np.sqrt(DRAWS * chance[rows] * (1 - chance[rows]))
                assert abs(times - DRAWS * chance[rows]) <= 5 * spread + 1e-6

    @pytest.mark.parametrize("is_taught", [False, True])
    def test_chances_of_its_own_slates_are_those_it_logged(self, policy, is_taught):
        policy = taught(policy) if is_taught else policy
        context = context_of(30)
        slate = policy.select(context, CANDIDATES, np.random.default_rng(4))
        chances = policy.chances(context, CANDIDATES, slate.content_rows)
        listener, slot = np.nonzero(slate.content_rows != NOTHING)
        place = [CANDIDATES.content_rows.tolist().index(row) for row in slate.content_rows[listener, slot]]
        assert chances[listener, slot, place] == pytest.approx(slate.propensities[listener, slot])
        assert chances[listener, slot].sum(axis=1) == pytest.approx(1)

    def test_chances_of_anybodys_slates_sum_to_one(self, policy):
        taught(policy)
        slots = min(policy.slots, 4)
        shown = np.stack(
            [np.random.default_rng(seed).permutation(CANDIDATES.content_rows)[:slots] for seed in range(30)]
        )
        chances = policy.chances(context_of(30), CANDIDATES, shown)
        assert chances.sum(axis=2) == pytest.approx(1)
        assert (chances >= 0).all()

    def test_it_goes_on_from_its_state(self, policy):
        """After more outcomes an old state gives what it gave then, and again after the same outcomes."""
        taught(policy)
        context, kept = context_of(60), policy.state()
        before = policy.select(context, CANDIDATES, np.random.default_rng(9))
        more = outcomes_of(context, before, 9)
        policy.update(more)
        after = policy.select(context, CANDIDATES, np.random.default_rng(10))
        policy.restore(kept)
        assert same(before, policy.select(context, CANDIDATES, np.random.default_rng(9)))
        policy.update(more)
        assert same(after, policy.select(context, CANDIDATES, np.random.default_rng(10)))

    def test_its_state_is_arrays_of_numbers(self, policy):
        state = taught(policy).state()
        assert all(array.dtype.kind in "biuf" and np.isfinite(array).all() for array in state.values())

    def test_a_state_that_lacks_something_is_refused(self, policy):
        for name in taught(policy).state():
            with pytest.raises(ValueError, match=name):
                policy.restore({other: array for other, array in policy.state().items() if other != name})

    def test_slots_that_nobody_saw_teach_nothing(self, policy):
        taught(policy)
        context = context_of(60)
        slate = policy.select(context, CANDIDATES, np.random.default_rng(5))
        told = outcomes_of(context, slate)
        seen = told.of(told.is_seen)
        kept = policy.state()
        policy.update(told)
        both = policy.select(context, CANDIDATES, np.random.default_rng(6))
        policy.restore(kept)
        policy.update(seen)
        assert same(both, policy.select(context, CANDIDATES, np.random.default_rng(6)))
