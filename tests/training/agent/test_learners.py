"""Trainings of an agent: their begin, their resumption after a kill, and the value of their steps."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.simulation.environment.small import log, population, simulator
from towers.contract.durations import DAY_US
from towers.policies.agent.features import CONTEXT, FEATURES
from towers.policies.agent.policy import READ, AgentPolicy
from towers.simulation.environment.making import make_world
from towers.simulation.environment.rewards import PARTS, RETURN_WEIGHTS
from towers.training.agent.advantages import advantages_of, rewards_of
from towers.training.agent.chance import fit_chance
from towers.training.agent.credit import WholeSlate
from towers.training.agent.episodes import Episodes
from towers.training.agent.long_term import long_term_of
from towers.training.agent.reinforce import Reinforce
from towers.training.agent.starting import Learner, Start

pytest.importorskip("stable_baselines3", reason="PPO takes the extra `agent`")
from towers.training.agent.ppo import Ppo  # after the check


class _Killed(Exception):
    pass


def trained(learner: Learner, folder: Path, killed_after: int | None = None) -> tuple[AgentPolicy, list[float]]:
    worlds = [
        make_world(simulator(), 6, population=population(), days=3.0, slate_size=4, num_candidates=20, seed=seed)
        for seed in range(2)
    ]
    returns: list[float] = []

    def watch(step, steps, figures):
        returns.append(figures["return"])
        if step == killed_after:
            raise _Killed

    policy = learner.train(worlds, weights=RETURN_WEIGHTS, folder=folder, seed=0, watch=watch)
    return policy, returns


LEARNERS: dict[str, Callable[[], Learner]] = {
    "reinforce": lambda: Reinforce(Start(rounds=1, without=("satiation",)), WholeSlate(), steps=2, contexts=CONTEXT),
    "ppo": lambda: Ppo(Start(rounds=1, without=("satiation",)), steps=2, plays=16, batches=2, epochs=2),
}


@pytest.mark.unhooked
@pytest.mark.parametrize("name", LEARNERS)
def test_a_killed_training_goes_on_to_the_same_weights(name, tmp_path):
    whole, returns = trained(LEARNERS[name](), tmp_path / "whole")
    with pytest.raises(_Killed):
        trained(LEARNERS[name](), tmp_path / "killed", killed_after=2)
    again, rest = trained(LEARNERS[name](), tmp_path / "killed")
    assert np.array_equal(whole.weights, again.weights)
    assert whole.penalties == again.penalties
    assert rest == returns[1:]
    assert not whole.weights[:, FEATURES.index("satiation")].any()
    assert whole.chance is not None
    assert whole.chance.weights[READ.index("satiation")] == pytest.approx(0.0, abs=1e-12)
    assert whole.weights.any()


def test_a_chance_is_found_that_data_were_made_by():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6_000, len(FEATURES))).astype(np.float32)
    context = np.concatenate([np.ones((6_000, 1)), rng.random((6_000, len(CONTEXT) - 1))], axis=1).astype(np.float32)
    weights = rng.normal(size=len(READ)) / 2.0
    columns = [FEATURES.index(name) for name in READ]
    log_odds = features[:, columns] @ weights + context @ np.array([-1.0, 0.5, 0.0, 0.3])
    happened = rng.random(6_000) < 1.0 / (1.0 + np.exp(-log_odds))
    assert fit_chance(features, context, happened).weights == pytest.approx(weights, abs=0.15)


def episodes(days: list[float], row: list[int], **parts: list[int]) -> Episodes:
    number = len(days)
    nothing = np.zeros(number, np.int64)
    given = dict.fromkeys(PARTS, nothing)
    given |= {name: np.array(part) for name, part in parts.items()}
    return Episodes(
        row=np.array(row), now_us=(np.array(days) * DAY_US).astype(np.int64), context=np.ones((number, 1)),
        known=np.zeros((number, 1)), gradient=np.zeros((number, 3)), counts=np.ones(number),
        is_picked=np.ones(number, bool), **given,
    )  # fmt: skip


def test_what_is_given_early_for_an_adoption_is_taken_back_at_the_end():
    played = episodes([0, 1, 2, 0, 1], [0, 0, 0, 1, 1], adopted_artists=[0, 1, 0, 0, 1], kept_artists=[0, 0, 1, 0, 0])
    found = rewards_of(played, {"kept_artists": 2.0, "skips": -1.0}, kept_share=0.5)
    assert found == pytest.approx([0.0, 1.0, 2.0 - 1.0, 0.0, 1.0 - 1.0])


def test_advantages_of_a_critic_that_knows_nothing_are_discounted_sums_less_the_listeners_mean():
    played = episodes([0, 1, 3, 0], [0, 0, 0, 1], skips=[0, 1, 1, 1])
    found = advantages_of(played, rewards_of(played, {"skips": -1.0}, 0.0), horizon_days=2.0, trace=1.0)
    half, whole = np.exp(-0.5), np.exp(-1.0)
    returns = np.array([-half * (1 + whole), -1 - whole, -1.0, -1.0])
    own = np.array([*[returns[:3].mean() * 3 / 13] * 3, -1.0 / 11])
    assert found == pytest.approx(returns - own)


def test_what_is_worth_later_is_nothing_where_the_log_is_too_short():
    played = log()
    assert not long_term_of(played, simulator().space, int(played.start_us.min()) + 5 * DAY_US).any()
