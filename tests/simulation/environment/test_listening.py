"""Gymnasium's two interfaces: they pass its checker, agree, are repeatable, and show nothing hidden."""

import sys
import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.simulation.environment.small import CONTENTS, LISTENERS, hidden, log, population, simulator
from towers.errors import UserError
from towers.simulation.environment.listening import ID, ListeningVectorEnv
from towers.simulation.environment.rewards import PARTS
from towers.simulation.listeners.model import MODEL


def one(**settings) -> gymnasium.Env:
    settings = {"simulator": simulator(), "population": population(), "slate": 4, "candidates": 20} | settings
    return gymnasium.make(ID, **settings)


def many(number: int, **settings) -> ListeningVectorEnv:
    settings = {"simulator": simulator(), "population": population(), "slate": 4, "candidates": 20} | settings
    return gymnasium.make_vec(ID, number, "vector_entry_point", **settings)


def nearest(env: ListeningVectorEnv, observation: dict) -> np.ndarray:
    return env.unwrapped.world.slates_of(np.arange(env.num_envs), observation["taste"])


def equal(first: dict, second: dict) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first) and first.keys() == second.keys()


@pytest.mark.parametrize("action", ["slate", "query"])
def test_passes_gymnasiums_check(action):
    env = one(action=action)
    with warnings.catch_warnings():
        # Counts have no bound to speak of.
        warnings.filterwarnings("ignore", message=".*A Box observation space")
        check_env(env.unwrapped, skip_render_check=True)


def test_one_listener_is_the_same_alone_and_as_a_vector_of_one():
    single, vector = one(days=1.0).unwrapped, many(1, days=1.0)
    seen, _ = single.reset(seed=5)
    also_seen, _ = vector.reset(seed=5)
    for _ in range(16):
        slate = seen["candidates"][:4].astype(np.int64)
        assert equal({name: value[None] for name, value in seen.items()}, also_seen)
        seen, reward, terminated, truncated, info = single.step(slate)
        also_seen, rewards, also_terminated, also_truncated, infos = vector.step(slate[None])
        assert (reward, terminated, truncated) == (rewards[0], also_terminated[0], also_truncated[0])
        assert info == {name: infos[name][0] for name in info}
        if terminated or truncated:
            seen, _ = single.reset()
            # The step after an episode's last one passes over its action and begins another one.
            also_seen, rewards, also_terminated, also_truncated, infos = vector.step(slate[None])
            assert not any((rewards[0], also_terminated[0], also_truncated[0], infos["_streams"][0]))


def test_a_seed_repeats_everything_bit_for_bit():
    runs = []
    for seed in (7, 7, 8):
        env = many(30)
        seen, _ = env.reset(seed=seed)
        rows = []
        for _ in range(5):
            seen, rewards, *_ = env.step(nearest(env, seen))
            rows.append([seen, {"reward": rewards}])
        runs.append(rows)
    pairs = [[equal(a, b) for one, other in zip(runs[0], run, strict=True) for a, b in zip(one, other, strict=True)]
             for run in runs[1:]]  # fmt: skip
    assert all(pairs[0])
    assert not any(pairs[1][::2])


@pytest.mark.slow
def test_a_state_that_was_kept_goes_on_bit_for_bit_in_another_environment():
    env, other = many(25, days=2.0), many(25, days=2.0)
    seen, _ = env.reset(seed=1)
    other.reset(seed=2)
    for _ in range(5):
        seen, *_ = env.step(nearest(env, seen))
    kept, begin = env.unwrapped.state(), seen
    runs = []
    for going_on in (env, env, other):
        going_on.unwrapped.restore(kept)
        seen, rows = begin, []
        for _ in range(7):
            seen, rewards, terminated, truncated, _ = going_on.step(nearest(going_on, seen))
            rows.append(seen | {"reward": rewards, "over": terminated | truncated})
        runs.append(rows)
    assert sum(row["over"].sum() for row in runs[0]) > 0
    for run in runs[1:]:
        assert all(equal(row, again) for row, again in zip(runs[0], run, strict=True))


@pytest.mark.parametrize(("row", "named"), [(CONTENTS, str(CONTENTS)), (-1, "-1")])
def test_a_row_outside_of_the_catalogue_is_named_and_changes_nothing(row, named):
    env = many(5)
    env.reset(seed=3)
    before = env.unwrapped.state()
    slates = np.zeros((5, 4), np.int64)
    slates[3, 2] = row
    with pytest.raises(UserError, match=f"row {named}, and the catalogue has {CONTENTS} contents, rows 0 to 79"):
        env.step(slates)
    after = env.unwrapped.state()
    assert equal(before["listeners"]["state"], after["listeners"]["state"])
    assert before["listeners"]["rng"] == after["listeners"]["rng"]


def test_actions_of_another_shape_and_queries_without_numbers_are_refused():
    with pytest.raises(UserError, match="an array of 4 numbers"):
        one().unwrapped.step(np.zeros(5, int))
    env = many(2, action="query")
    env.reset(seed=0)
    with pytest.raises(UserError, match="finite"):
        env.step(np.full((2, 8), np.nan))


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"action": "song"}, "slate or query"), ({"reward_weights": {"joy": 1.0}}, "joy"), ({"member": 1}, "1 members"),
     ({"simulator": None}, "simulator="), ({"slate": 1_000}, "1000 contents"), ({"simulator": "nowhere"}, "nowhere"),
     ({"log": log()}, "not both"), ({"population": None, "log": log().between(0, 1)}, "no plays")],
)  # fmt: skip
def test_settings_that_cannot_be_are_named(settings, named):
    with pytest.raises(UserError, match=named):
        many(2, **settings)


def test_hidden_traits_and_models_are_not_in_the_first_observation():
    other = replace(population(), modes={name: mode + 1.0 for name, mode in population().modes.items()})
    seen = [many(40, population=who).reset(seed=4)[0] for who in (population(), other)]
    seen.append(many(40, simulator=hidden(simulator(), 2.0)).reset(seed=4)[0])
    assert equal(seen[0], seen[1])
    assert equal(seen[0], seen[2])


def test_hidden_traits_are_not_seen_while_the_same_is_played_and_left_in_the_same_way():
    env, other = many(1), many(1)
    seen, also_seen = env.reset(seed=4)[0], other.reset(seed=4)[0]
    for name in ("slow", "fast", "tastes", "satiation", "session_taste"):
        getattr(other.unwrapped.world.listeners.state, name)[:] += 1.0
    everybody = np.arange(1)
    assert equal(seen, also_seen)
    assert equal(env.unwrapped.world.observe(everybody), other.unwrapped.world.observe(everybody))


def test_observations_lie_in_their_space_and_tell_what_was_played():
    env = many(20, days=4.0)
    seen, _ = env.reset(seed=6)
    for _ in range(8):
        before = seen
        seen, _, terminated, truncated, infos = env.step(nearest(env, seen))
        assert env.observation_space.contains(seen)
        told = infos["_content"]
        assert np.array_equal(seen["recent"][told, 0], infos["content"][told])
        assert np.array_equal(seen["recent_skipped"][told, 0], infos["skips"][told])
        assert np.array_equal(seen["recent"][told, 1:], before["recent"][told, :-1])
    assert (terminated | truncated).dtype == bool


def test_reward_is_the_weighted_sum_of_its_parts():
    weights = {"streams": 1.0, "saves": 4.0, "skips": -0.5, "active_days": 2.0}
    env = many(120, reward_weights=weights)
    seen, _ = env.reset(seed=9)
    sums = dict.fromkeys(PARTS, 0)
    for _ in range(12):
        seen, rewards, _, _, infos = env.step(nearest(env, seen))
        assert rewards == pytest.approx(sum(weight * infos[name] for name, weight in weights.items()))
        told = infos["_streams"]
        assert np.array_equal(infos["streams"][told] + infos["skips"][told], np.ones(told.sum()))
        assert (infos["finishes"] <= infos["streams"]).all()
        for name in PARTS:
            sums[name] += infos[name].sum()
    # No episode is over yet, so that no artist counts as kept.
    assert not sums.pop("kept_artists")
    assert min(sums.values()) > 0, sums


def test_listeners_are_new_without_a_log_and_known_with_one():
    unknown, _ = many(10, population=None).reset(seed=0)
    known, _ = many(10, population=None, log=log()).reset(seed=0)
    assert (unknown["recent"] == -1).all()
    assert not unknown["taste"].any()
    assert (known["recent"][:, 0] >= 0).all()


def test_more_listeners_than_the_population_has_live_apart():
    env = many(2 * LISTENERS)
    seen, _ = env.reset(seed=0)
    for _ in range(3):
        seen, *_ = env.step(nearest(env, seen))
    assert len(np.unique(seen["recent"], axis=0)) > LISTENERS


def test_the_extra_is_named_where_gymnasium_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "towers.simulation.environment.listening")
    with pytest.raises(UserError, match=r"pip install 'towers-rec\[simulation\]'"):
        __import__("towers.simulation.environment.listening")


def test_a_version_that_was_not_checked_is_refused_unless_it_is_forced(tmp_path):
    simulator().write(tmp_path / MODEL)
    settings = {"population": population(), "slate": 4, "candidates": 20}
    with pytest.raises(UserError, match="was not checked"):
        gymnasium.make(ID, simulator=tmp_path, **settings)
    seen, _ = gymnasium.make(ID, simulator=tmp_path, force=True, **settings).reset(seed=0)
    assert equal(seen, one().reset(seed=0)[0])
