"""An agent's log, read back: its observations, the contents shown with their chances, and the outcomes."""

import json
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf

from benchmarks.simulation.sequential_world import NearPolicy, described, served, session_log
from benchmarks.simulation.small_mdp import SmallMdp
from towers.config.instantiate import instantiate
from towers.config.keys import CONFIG_DIR
from towers.contract.durations import DAY_US
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.errors import UserError
from towers.evaluation.off_policy.sequential.judge import SequentialSettings, judge_sequential
from towers.lifecycle.agent.by_log import judge_by_log
from towers.lifecycle.agent.evidence import home_evidence
from towers.lifecycle.agent.logged import LogSettings, logged_steps
from towers.lifecycle.agent.logged_agent import LoggedAgent
from towers.lifecycle.home_gate.gate import judge
from towers.lifecycle.simulator.impressions import impression_tables
from towers.policies.agent.features import FEATURES
from towers.policies.agent.policy import AgentPolicy, no_weights
from towers.policies.agent.slates import Penalties
from towers.policies.bandit.uniform import Uniform
from towers.simulation.environment.home_shelf import HomeShelf
from towers.simulation.environment.observation import MOMENT
from towers.simulation.environment.rewards import PARTS
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners.rollout import lived
from towers.simulation.listeners.session_log import COLUMNS, SKIP, joined
from towers.simulation.planted.listeners import PlantedListeners, planted_log
from towers.simulation.planted.world import Plant, PlantedWorld

LISTENERS, DAYS = 16, 2.0


@cache
def listeners():
    """Returns a planted world, its listeners' earlier plays, and their state after these."""
    made = PlantedWorld(Plant(num_listeners=30, num_days=2, num_tracks=60, num_episodes=8))
    log, there = planted_log(made)
    return made, log, there


def space():
    return listeners()[0].space


@cache
def logging():
    return NearPolicy(space=space(), slots=2, sharpness=2.0, mixed=0.2)


@cache
def world_log():
    """Returns the listeners' next events: as the world reports them, as plays behind the earlier ones, and as
    impressions.
    """
    made, before, there = listeners()
    living = PlantedListeners.drawn(there, LISTENERS, 0)
    found = served(ListeningWorld(living, made.end_us, DAYS, slate_size=2, num_candidates=6), logging(), seed=0)
    users = tuple(f"u{row}" for row in range(LISTENERS))
    plays = session_log(found, users, before.contexts, before.devices)
    # Each row's past is that of the listener who took it; some are there twice.
    of_row = [np.flatnonzero(before.listener == who) for who in living.who]
    past = {name: [getattr(before, name)[some] for some in of_row] for name in COLUMNS}
    past["listener"] = [np.full(len(some), row) for row, some in enumerate(of_row)]
    for name in COLUMNS:
        past[name].append(plays.session + len(before) if name == "session" else getattr(plays, name))
    return found, joined(past, users, before.contexts, before.devices), impressions(found, users)


def impressions(found, users):
    rows = []
    for step, (listeners, seen, shown, plays) in enumerate(
        zip(found.rows, found.seen, found.shown, found.plays, strict=True)
    ):
        for at, listener in enumerate(listeners.tolist()):
            for slot in range(shown.slates.shape[1]):
                rows.append({
                    "request_id": f"{listener}-{step}", "user_id": users[listener],
                    "timestamp": int(plays["start_us"][at]),
                    "candidate_ids": [space().content_ids[row] for row in seen["candidates"][at] if row >= 0],
                    "chosen_id": space().content_ids[shown.slates[at, slot]], "slot": slot, "shelf": "home",
                    "propensity": float(shown.propensities[at, slot]), "policy_id": "near",
                    "space_id": space().space_id,
                    "clicked": bool(plays["content"][at] == shown.slates[at, slot]),
                })  # fmt: skip
    columns = {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in IMPRESSION_SCHEMA}
    return pa.table(columns, schema=IMPRESSION_SCHEMA)


def read(table=None, plays=None, policy=None, describe=None, **settings):
    _, own_plays, own_table = world_log()
    return logged_steps(
        own_table if table is None else table, own_plays if plays is None else plays, space(), policy or logging(),
        describe or partial(described, space()), LogSettings(**{"days": DAYS, "draws": 2} | settings),
    )  # fmt: skip


@cache
def own():
    """Returns the log, judged for the policy that logged it."""
    return read().log


def test_a_policy_is_told_what_it_was_told_then():
    found, _, _ = world_log()
    told = []

    def describe(seen):
        told.append(seen)
        return described(space(), seen)

    read(describe=describe)
    assert len(told) == len(found.seen)
    for own, other in zip(found.seen, told, strict=True):
        assert own.keys() == other.keys()
        for name, column in own.items():
            again = other[name].copy()
            if name == "moment":
                # Signing up counts as a session of planted listeners, who were away from then until their first one.
                again[:, MOMENT.index("sessions")] += 1
                away, is_new = MOMENT.index("days_away"), again[:, MOMENT.index("sessions")] == 2
                again[is_new, away] = column[is_new, away]
            np.testing.assert_allclose(again, column, rtol=1e-5, atol=1e-4, err_msg=name)


def test_what_came_of_slates_is_what_the_world_counted():
    found, _, _ = world_log()
    log = own()
    for name in PARTS:
        expected = np.zeros((LISTENERS, log.horizon))
        for step, (rows, parts) in enumerate(zip(found.rows, found.parts, strict=True)):
            expected[rows, step] = parts[name]
        np.testing.assert_array_equal(log.laid(log.parts[name]), expected, err_msg=name)
    assert log.parts["active_days"].sum() >= LISTENERS
    assert log.rewards == pytest.approx(
        log.parts["active_days"] + log.parts["kept_artists"] - 0.05 * log.parts["skips"]
    )
    assert log.parts["clicks"].sum() == sum(
        (plays["content"][:, None] == shown.slates).sum() for plays, shown in zip(found.plays, found.shown, strict=True)
    )


def test_the_policy_that_logged_has_the_chances_of_the_log():
    log = own()
    np.testing.assert_allclose(log.new_propensities, log.propensities)
    verdict = judge_sequential(log, SequentialSettings(resamples=10))
    assert all(one.largest == pytest.approx(1) for one in verdict.step_weights)
    assert log.exposures.sum() == 2 * len(log)


def test_what_the_export_lacks_is_never_shown_by_the_new_policy():
    _, _, table = world_log()
    ids = table["chosen_id"].to_pylist()
    gone = ids[0]
    without = replace(space(), content_ids=["gone" if one == gone else one for one in space().content_ids])
    found = logged_steps(
        table, world_log()[1], without, logging(), partial(described, without), LogSettings(days=DAYS, draws=1)
    )
    requests = {request for request, one in zip(table["request_id"].to_pylist(), ids, strict=True) if one == gone}
    assert found.unknown == len(requests) == (found.log.new_propensities == 0).sum()
    assert f"{found.unknown:,} slates hold a content that the export lacks" in "\n".join(found.lines())


def test_who_played_nothing_earned_nothing():
    _, plays, _ = world_log()
    others = replace(plays, user_ids=("nobody", *plays.user_ids[1:]))
    log = read(plays=others).log
    steps = len(own())
    assert len(log) == steps
    # The first listener's plays now belong to another.
    without = log.laid(log.parts["active_days"]).sum(axis=1)
    assert sorted(without)[0] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"days": 28.0}, "too short for its delayed outcomes: 28 days"),
        ({"shelf": "radio"}, "has no slate on the shelf radio"),
    ],
)
def test_a_log_that_does_not_do(change, words):
    with pytest.raises(UserError, match=words):
        read(**change)


def test_a_log_without_candidates_or_of_several_shelves():
    _, _, table = world_log()
    place = table.column_names.index("candidate_ids")
    none = table.set_column(place, "candidate_ids", pa.nulls(len(table), table.schema.field(place).type))
    with pytest.raises(UserError, match="has no candidate_ids"):
        read(table=none)
    place = table.column_names.index("shelf")
    two = table.set_column(place, "shelf", pa.array([f"s{slot}" for slot in table["slot"].to_pylist()]))
    with pytest.raises(UserError, match="has several shelves"):
        read(table=two)
    assert len(read(table=two, shelf="s0").log) == len(own())


def agent(temperature=1.0, relevance=3.0, slots=5):
    weights = no_weights()
    weights[0, FEATURES.index("relevance")] = relevance
    weights[1, FEATURES.index("familiarity")] = 1.0
    policy = AgentPolicy(
        contents=space(), weights=weights, penalties=Penalties(artist=0.5, region=0.2), temperature=temperature,
        slots=slots,
    )  # fmt: skip
    return LoggedAgent(policy=policy, slots=2)


def test_an_agent_is_judged_by_the_log_of_another_policy():
    asked = agent()
    found = read(policy=asked, describe=asked.describe)
    log = found.log
    assert (log.new_propensities > 0).all()
    assert not np.allclose(log.new_propensities, log.propensities)
    # Chances of all ordered pairs of a listener's six candidates add up to one.
    seen = {name: column[:1] for name, column in world_log()[0].seen[0].items()}
    rows = seen["candidates"][0].tolist()
    pairs = [np.array([[one, other]]) for one in rows for other in rows if one != other]
    assert sum(asked.chances(seen, pair).prod() for pair in pairs) == pytest.approx(1.0)
    verdict = judge_sequential(log.first(4), SequentialSettings(resamples=20))
    assert verdict.estimates.keys() == {"ips", "snips", "dr", "direct", "marginal", "marginal_dr"}
    assert {"kinds", "clicks", "new_cards", *PARTS} == verdict.parts.keys()


CONFIG = OmegaConf.load(f"{CONFIG_DIR}/home_gate/default.yaml")
RULES = {str(name): instantiate(node, f"home_gate.rules.{name}") for name, node in CONFIG.rules.items()}


def test_the_gate_of_the_home_page_lets_a_good_one_pass_and_refuses_a_bad_one():
    mdp, old = SmallMdp.drawn(3, 3, seed=0), np.full((3, 3), 1 / 3)
    best = mdp.greedy(4)
    worst = replace(mdp, earns=1 - mdp.earns).greedy(4)

    def refused(new):
        log = mdp.log(old, new, 4_000, 4, seed=0)
        earned = log.parts["reward"]
        counted = {"reward": earned, "skips": 1 - earned, "new_cards": np.ones(len(log))}
        verdict = judge_sequential(
            replace(log, parts=counted, exposures=log.actions, states=None), SequentialSettings(resamples=100)
        )
        assert verdict.is_judged
        return [one.rule for one in judge(home_evidence(verdict), RULES).refused]

    assert refused(0.9 * old + 0.1 * best) == []
    assert refused(0.8 * old + 0.2 * worst) == ["lower_bound"]


def test_what_a_log_does_not_say_is_refused_by_the_gate_with_the_reason():
    few = judge_sequential(replace(own().first(3).on_policy(), states=None), SequentialSettings(resamples=20))
    assert {one.rule for one in few.refusals} == {"effective_listeners", "largest_weight"}
    words = judge(home_evidence(few), RULES).refused[0].words
    assert words.startswith(f"cannot be judged: effective_listeners: {LISTENERS}.0 of {LISTENERS} listeners")
    marginal = judge_sequential(own().on_policy(), SequentialSettings(resamples=10))
    assert marginal.weighting == "marginal"
    assert home_evidence(replace(marginal, refusals=())).why.endswith("by products of weights")


def test_an_agent_is_judged_by_a_folder(tmp_path):
    _, plays, table = world_log()
    (tmp_path / "impressions").mkdir()
    pq.write_table(table, tmp_path / "impressions" / "day.parquet")
    found = judge_by_log(
        tmp_path, plays, space(), agent().policy, log=LogSettings(days=DAYS, draws=1),
        settings=SequentialSettings(resamples=10), most_steps=2,
    )  # fmt: skip
    lines = "\n".join(found.lines())
    assert lines.startswith("slates of near from 2026-03-04 to before 2026-03-06")
    assert "refused, effective_listeners: " in lines
    told = json.loads(json.dumps(found.to_json()))
    assert told["horizon"] == 2
    assert told["value"] is None
    assert told["refusals"][0]["rule"] == "effective_listeners"


def test_a_page_at_the_begin_of_sessions_has_all_that_is_played_until_the_next_one():
    made, before, there = listeners()
    living = PlantedListeners.drawn(there, LISTENERS, 1)
    shelf = HomeShelf(living, Uniform(slots=2), 6, (0, 1, 2), 0.0, np.random.default_rng(0))
    end_us = made.end_us + 2 * DAY_US
    users = tuple(f"u{row}" for row in range(LISTENERS))
    plays = lived(living, made.end_us, end_us, users, before.contexts, before.devices, shelf.choose)
    names = {"prefix": "r", "policy_id": "uniform", "shelf": "home"}
    tables = impression_tables(shelf.pages(plays), plays, space(), **names)
    log = read(table=pa.concat_tables([table for _, table in tables]), plays=plays, days=2.0).log
    assert len(log) == len(plays.session_begins)
    plays = plays.taken(plays.start_us < end_us)
    row_of = {row: place for place, row in enumerate(np.unique(plays.listener).tolist())}
    first = {row: int(plays.session[plays.listener == row].min()) for row in row_of}
    step = plays.session - np.array([first[row] for row in plays.listener.tolist()])
    expected = np.zeros((len(row_of), log.horizon))
    np.add.at(expected, (np.array([row_of[row] for row in plays.listener.tolist()]), step), plays.outcome != SKIP)
    np.testing.assert_array_equal(log.laid(log.parts["streams"]), expected)
    np.testing.assert_allclose(log.propensities, 1 / 30)
    days = {(row, start // DAY_US) for row, start in zip(plays.listener.tolist(), plays.start_us.tolist(), strict=True)}
    assert log.parts["active_days"].sum() == len(days)
