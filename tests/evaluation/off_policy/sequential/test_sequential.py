"""Estimates from a log of many steps: against closed forms, and against properties that hold for any log."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulation.small_mdp import SmallMdp
from towers.evaluation.intervals import drawn_listeners
from towers.evaluation.off_policy.estimators import doubly_robust, ips, snips
from towers.evaluation.off_policy.sequential.fitted_q import FittedQ
from towers.evaluation.off_policy.sequential.judge import SequentialSettings, judge_sequential
from towers.evaluation.off_policy.sequential.log import SequentialLog
from towers.evaluation.off_policy.sequential.marginal import (
    Marginal,
    discrete_states,
    marginal_values,
    resampled_marginal_values,
)
from towers.evaluation.off_policy.sequential.refusals import Limits

QUICK = SequentialSettings(resamples=30)
OLD = np.array([[0.5, 0.5], [0.25, 0.75]])
NEW = np.array([[0.2, 0.8], [0.7, 0.3]])
MDP = SmallMdp(
    begin=np.array([0.25, 0.75]),
    moves=np.array([[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [0.6, 0.4]]]),
    earns=np.array([[1.0, 0.0], [0.5, 2.0]]),
    is_certain=True,
)


def everything(steps=3, discount=0.9):
    """Returns every path of the process under the old policy, one a listener, and the chance of each."""
    rows, chances = [], []
    for listener, path in enumerate(product(range(2), repeat=2 * steps)):
        states, actions = np.array(path[::2]), np.array(path[1::2])
        moved = MDP.moves[states[:-1], actions[:-1], states[1:]]
        chances.append(MDP.begin[states[0]] * OLD[states, actions].prod() * moved.prod())
        rows += [
            (listener, step, state, action) for step, (state, action) in enumerate(zip(states, actions, strict=True))
        ]
    listener, step, state, action = np.array(rows).T
    log = SequentialLog(
        listeners=listener, steps=step, propensities=OLD[state, action], new_propensities=NEW[state, action],
        parts={"reward": MDP.earns[state, action]}, states=np.eye(2)[state], actions=np.eye(2)[action],
        new_actions=NEW[state], discount=discount,
    )  # fmt: skip
    return log, np.array(chances), state, action


def test_of_everything_that_can_happen_the_estimates_are_the_truth():
    log, chances, _, _ = everything()
    value, _ = MDP.worth(NEW, 3, 0.9)
    slates = log.slates()
    wrong = SmallMdp(begin=MDP.begin, moves=MDP.moves[::-1], earns=MDP.earns[:, ::-1], is_certain=True)
    _, guessed = wrong.worth(NEW, 3, 0.9)
    states, actions = log.states.argmax(axis=1), log.actions.argmax(axis=1)
    shown = log.laid(guessed[log.steps, states, actions] * log.discounts)
    new = log.laid((NEW[states] * guessed[log.steps, states]).sum(axis=1) * log.discounts)
    slates = replace(slates, estimates=shown, new_estimates=new)
    assert chances @ ips(slates).numerators[:, 0] == pytest.approx(value)
    assert chances @ doubly_robust(slates).numerators[:, 0] == pytest.approx(value)
    weights = slates.weights()
    assert (chances @ (weights * slates.rewards) / (chances @ weights)).sum() == pytest.approx(value)
    marginal = Marginal(states=log.laid(states.astype(float)).astype(int), ratios=slates.ratios)
    of_states = marginal.weights(chances)
    assert chances @ (of_states * slates.rewards).sum(axis=1) == pytest.approx(value)


def test_marginal_weights_are_ratios_of_densities():
    log, chances, state, action = everything()
    density = {0: MDP.begin}
    for policy, name in ((OLD, "old"), (NEW, "new")):
        of_state = MDP.begin
        for step in range(3):
            density[name, step] = of_state[:, None] * policy
            of_state = np.einsum("s,sa,sat->t", of_state, policy, MDP.moves)
    marginal = Marginal(states=log.laid(state.astype(float)).astype(int), ratios=log.slates().ratios)
    places = zip(log.steps, state, action, strict=True)
    expected = [density["new", step][s, a] / density["old", step][s, a] for step, s, a in places]
    assert marginal.weights(chances) == pytest.approx(log.laid(np.array(expected)))


def test_the_first_steps_alone_and_with_what_follows_under_the_old_policy():
    log, chances, _, _ = everything()
    value, _ = MDP.worth(NEW, 2, 0.9)
    assert chances @ ips(log.first(2).slates()).numerators[:, 0] == pytest.approx(value)
    # The third step is the old policy's.
    of_state = (OLD * MDP.earns).sum(axis=1)
    for _ in range(2):
        of_state = (NEW * (MDP.earns + 0.9 * MDP.moves @ of_state)).sum(axis=1)
    with_rest = log.first(2, with_rest=True)
    assert with_rest.horizon == 2
    assert chances @ ips(with_rest.slates()).numerators[:, 0] == pytest.approx(MDP.begin @ of_state)


@pytest.mark.parametrize("pooled", [True, False])
def test_fitted_q_finds_what_actions_are_worth(pooled):
    log = MDP.log(OLD, NEW, 3_000, 4, seed=0, discount=0.9)
    _, worth = MDP.worth(NEW, 4, 0.9)
    found = FittedQ(penalty=1e-6, pooled=pooled).worth(log)
    states, actions = log.states.argmax(axis=1), log.actions.argmax(axis=1)
    assert found.shown == pytest.approx(worth[log.steps, states, actions] * log.discounts, abs=0.12)
    new = (NEW[states] * worth[log.steps, states]).sum(axis=1) * log.discounts
    assert found.new == pytest.approx(new, abs=0.12)


def test_fitted_q_of_listeners_who_leave():
    mdp = replace(MDP, goes=0.3)
    log = mdp.log(OLD, NEW, 3_000, 5, seed=1)
    value, _ = mdp.worth(NEW, 5)
    for pooled in (True, False):
        first = log.laid(FittedQ(penalty=1e-6, pooled=pooled).worth(log).new)[:, 0]
        assert first.mean() == pytest.approx(value, abs=0.1)


def test_a_perfect_model_leaves_no_variance():
    """If only the policies' draws are random, doubly robust is the same for every listener."""
    certain = SmallMdp(
        begin=np.array([1.0, 0.0]), moves=np.eye(2)[np.array([[0, 1], [1, 0]])], earns=MDP.earns, is_certain=True
    )
    log = certain.log(OLD, NEW, 50, 6, seed=0, discount=0.8)
    value, worth = certain.worth(NEW, 6, 0.8)
    states, actions = log.states.argmax(axis=1), log.actions.argmax(axis=1)
    shown = log.laid(worth[log.steps, states, actions] * log.discounts)
    new = log.laid((NEW[states] * worth[log.steps, states]).sum(axis=1) * log.discounts)
    slates = replace(log.slates(), estimates=shown, new_estimates=new)
    assert doubly_robust(slates).numerators[:, 0] == pytest.approx(np.full(50, value))
    assert marginal_values(Marginal(states=log.laid(states.astype(float)).astype(int), ratios=slates.ratios), slates)[
        "marginal_dr"
    ] == pytest.approx(value)
    assert np.ptp(ips(slates).numerators[:, 0]) > 1


@st.composite
def logs(draw):
    """Any log: listeners of any length, any chances, any rewards."""
    seed, listeners = draw(st.integers(0, 10_000)), draw(st.integers(6, 12))
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, listeners)
    rows = int(lengths.sum())
    steps = np.concatenate([np.arange(length) for length in lengths])
    return SequentialLog(
        listeners=np.repeat(rng.permutation(listeners), lengths), steps=steps, propensities=rng.uniform(0.05, 1, rows),
        new_propensities=rng.uniform(0, 1, rows), parts={"reward": rng.normal(size=rows), "skips": rng.random(rows)},
        states=rng.integers(0, 3, (rows, 1)).astype(float), actions=rng.normal(size=(rows, 2)),
        new_actions=rng.normal(size=(rows, 2)), discount=draw(st.sampled_from([1.0, 0.9])),
    )  # fmt: skip


@given(logs())
@settings(max_examples=10, deadline=None)
def test_judged_by_its_own_policy_every_weight_is_one_and_all_estimates_are_the_mean(log):
    verdict = judge_sequential(log.on_policy(), replace(QUICK, resamples=5))
    mean = (log.rewards * log.discounts).sum() / len(np.unique(log.listeners))
    assert verdict.logged.mean == pytest.approx(mean)
    for name in ("ips", "snips", "dr", "marginal", "marginal_dr"):
        assert verdict.estimates[name].mean == pytest.approx(mean)
    assert all(one.mean == pytest.approx(1) and one.largest == pytest.approx(1) for one in verdict.weights)
    assert verdict.parts["skips"].new.mean == pytest.approx(verdict.parts["skips"].production)


@given(logs())
@settings(max_examples=15, deadline=None)
def test_self_normalised_estimates_stay_within_the_rewards(log):
    slates = log.slates()
    least, most = slates.rewards.min(axis=0).sum(), slates.rewards.max(axis=0).sum()
    assert least - 1e-9 <= snips(slates).value <= most + 1e-9


@given(logs())
@settings(max_examples=5, deadline=None)
def test_all_resamples_at_once_are_each_resample_alone(log):
    slates = log.slates()
    worth = FittedQ().worth(log)
    slates = replace(slates, estimates=log.laid(worth.shown), new_estimates=log.laid(worth.new))
    marginal = Marginal(states=log.laid(log.states[:, 0], 3.0).astype(int), ratios=slates.ratios)
    (counts,) = drawn_listeners(len(slates), 1, 6)
    found = resampled_marginal_values(marginal, slates, seed=1, resamples=6)
    each = [marginal_values(marginal, slates, one) for one in counts]
    for name in ("marginal", "marginal_dr"):
        assert found[name] == pytest.approx([one[name] for one in each])


@given(logs())
@settings(max_examples=5, deadline=None)
def test_the_order_of_rows_does_not_matter(log):
    order = np.random.default_rng(0).permutation(len(log))
    other = replace(
        log, **{name: getattr(log, name)[order] for name in (
            "listeners", "steps", "propensities", "new_propensities", "states", "actions", "new_actions"
        )}, parts={name: part[order] for name, part in log.parts.items()},
    )  # fmt: skip
    assert ips(other.slates()).value == pytest.approx(ips(log.slates()).value)
    assert other.laid(FittedQ().worth(other).shown) == pytest.approx(log.laid(FittedQ().worth(log).shown))


def test_near_policies_are_judged_and_the_truth_is_in_the_interval():
    mdp = SmallMdp.drawn(3, 3, seed=0)
    old = np.full((3, 3), 1 / 3)
    new = 0.75 * old + 0.25 * mdp.greedy(6)
    verdict = judge_sequential(mdp.log(old, new, 1_500, 6, seed=3), QUICK)
    value, _ = mdp.worth(new, 6)
    assert verdict.is_judged, verdict.lines()
    assert verdict.value.low < value < verdict.value.high
    assert verdict.gain.low > 0
    assert "by dr" in "\n".join(verdict.lines())
    told = verdict.to_json()
    assert told["is_judged"]
    assert told["value"]["mean"] == verdict.value.mean
    assert len(told["weights"]) == 6


def test_a_longer_log_is_judged_by_marginal_weights():
    mdp = SmallMdp.drawn(3, 3, seed=0)
    old = np.full((3, 3), 1 / 3)
    new = 0.5 * old + 0.5 * mdp.greedy(25)
    log = mdp.log(old, new, 600, 25, seed=3)
    verdict = judge_sequential(log, QUICK)
    value, _ = mdp.worth(new, 25)
    assert verdict.is_judged
    assert (verdict.believed, verdict.weighting) == ("marginal_dr", "marginal")
    assert verdict.value.mean == pytest.approx(value, rel=0.03)
    assert "ips" not in verdict.estimates
    without = judge_sequential(replace(log, states=None), QUICK)
    assert without.refusals[0].rule == "horizon"
    assert without.value is None
    assert "judge the first 10" in "\n".join(without.lines())
    assert judge_sequential(replace(log, states=None).first(4), QUICK).is_judged


def refused(log, **limits):
    verdict = judge_sequential(log, replace(QUICK, limits=Limits(**limits)))
    return {one.rule: one for one in verdict.refusals}


def test_what_a_log_does_not_say_is_refused_with_its_reason():
    mdp = SmallMdp.drawn(3, 3, seed=0)
    old, far = np.full((3, 3), 1 / 3), 0.05 / 3 + 0.95 * mdp.greedy(8)
    log = mdp.log(old, far, 400, 8, seed=0)
    found = refused(log)
    assert {"effective_listeners", "largest_weight"} <= found.keys()
    assert "of 400 listeners are effective at step" in found["effective_listeners"].words
    never = old.copy()
    never[:, 0] = 0
    never /= never.sum(axis=1, keepdims=True)
    unshown = mdp.log(never, old, 2_000, 3, seed=0)
    assert "the log never shows a part" in refused(unshown)["supported"].words
    wrong = replace(log, propensities=log.propensities / 2)
    assert "supported" in refused(wrong)
    near = mdp.log(old, 0.9 * old + 0.1 * far, 500, 4, seed=0)
    assert refused(near) == {}
    assert "apart" in refused(near, most_apart=1e-6)["estimators_agree"].words


def test_bad_logs_are_told():
    log = MDP.log(OLD, NEW, 5, 3, seed=0)
    with pytest.raises(ValueError, match="step 1 is missing"):
        log.of(log.steps != 1)
    with pytest.raises(ValueError, match="none of the log's parts"):
        replace(log, reward_weights={"days": 1.0})
    with pytest.raises(ValueError, match="propensities must be above 0"):
        replace(log, propensities=np.zeros(len(log)))
    with pytest.raises(ValueError, match="belong together"):
        replace(log, new_actions=None)
    with pytest.raises(ValueError, match="needs states"):
        judge_sequential(replace(log, states=None), replace(QUICK, weighting="marginal"))


def test_discrete_states_are_the_states_where_they_are_few_and_clusters_where_not():
    rng = np.random.default_rng(0)
    states = rng.integers(0, 4, (300, 2)).astype(float)
    found = discrete_states(states, 16)
    assert len(np.unique(found)) == 16
    assert all(len(np.unique(states[found == one], axis=0)) == 1 for one in range(16))
    middles = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    of = rng.integers(0, 3, 500)
    clusters = discrete_states(middles[of] + rng.normal(size=(500, 2)), 3)
    assert all(len(np.unique(clusters[of == one])) == 1 for one in range(3))
    assert len(np.unique(clusters)) == 3


def test_shares_of_kinds_are_of_the_new_policy():
    log = MDP.log(OLD, NEW, 2_000, 3, seed=0)
    log = replace(log, exposures=log.actions)
    verdict = judge_sequential(log, QUICK)
    state = MDP.begin
    shown = np.zeros(2)
    for _ in range(3):
        shown += state @ NEW
        state = np.einsum("s,sa,sat->t", state, NEW, MDP.moves)
    shares = shown / shown.sum()
    assert verdict.parts["kinds"].new.mean == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), abs=0.02)
