"""The world behind the interfaces: choices, counts, and ends of episodes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.simulation.environment.small import CONTENTS, UNTIL_US, population, simulator, space
from towers.contract.durations import DAY_US
from towers.simulation.environment.candidates import CandidateRetrieval
from towers.simulation.environment.making import make_world
from towers.simulation.environment.rewards import Rewards
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners import choice_features
from towers.simulation.listeners.response import Reaction
from towers.simulation.listeners.session_log import FINISH, PARTIAL, SKIP

ALL = np.arange(20)


def world(**settings) -> ListeningWorld:
    settings = {"days": 3.0, "slate_size": 4, "num_candidates": 20} | settings
    made = make_world(simulator(), len(ALL), population=population(), **settings)
    made.reset(ALL, np.random.default_rng(0))
    return made


def test_without_own_pull_everything_comes_from_the_slate_and_with_much_nothing():
    slates = np.tile([3, 5, 8, 13], (len(ALL), 1))
    step = world(own_pull=-1e9).step(ALL, slates)
    assert not step.is_own.any()
    assert np.isin(step.content, slates[0]).all()
    assert world(own_pull=1e9).step(ALL, slates).is_own.all()


def test_what_cannot_be_played_or_is_not_out_is_never_picked():
    unplayable, unreleased = CONTENTS - 1, CONTENTS - 2
    step = world(own_pull=-1e9).step(ALL, np.tile([unplayable, 7, unreleased, 7], (len(ALL), 1)))
    assert (step.content == 7).all()
    assert world(own_pull=-1e9).step(ALL, np.full((len(ALL), 4), unplayable)).is_own.all()


def test_a_content_that_stands_twice_counts_once():
    made = make_world(
        simulator(), 2_000, population=population(), days=3.0, slate_size=4, num_candidates=20, own_pull=-1e9
    )
    made.reset(np.arange(2_000), np.random.default_rng(0))
    weight = np.exp(made.listeners.attraction(np.arange(2_000), np.tile([1, 2], (2_000, 1))))
    expected = (weight[:, 0] / weight.sum(axis=1)).mean()
    picked = made.step(np.arange(2_000), np.tile([1, 2, 2, 2], (2_000, 1))).content
    # Twelve standard errors would be .13; as three contents 2 would win far more often.
    assert (picked == 1).mean() == pytest.approx(expected, abs=0.04)


def test_an_attraction_is_the_chance_of_own_choice_times_the_number_of_contents():
    made = make_world(simulator(), 1, population=population(), own_candidates=CONTENTS, slate_size=4)
    made.reset(np.zeros(1, int), np.random.default_rng(3))
    listeners, rows, playable = made.listeners, np.zeros(4_000, int), np.flatnonzero(space().is_playable)
    weight = [np.exp(listeners.attraction(rows[:1], playable[None]))[0] for _ in range(100)]
    expected = np.mean(weight, axis=0) / len(playable)
    drawn = np.bincount(listeners.choose(rows), minlength=CONTENTS)[playable] / len(rows)
    released = space().released_us[playable] <= made.now_us[0]
    assert np.corrcoef(expected[released], drawn[released])[0, 1] > 0.95
    assert expected[released].sum() == pytest.approx(1.0, abs=0.25)
    assert not drawn[~released].any()


def test_utilities_are_features_times_weights():
    state, fitted = population().state, simulator().central.choosing
    rows, contents = np.arange(len(state)), np.arange(CONTENTS)
    for position in (0, 3):
        state.position[:] = position
        stage = min(position, 1)
        place = state.memory.listed(rows)
        read = choice_features.known_features(state, rows, place, fitted.num_contexts)
        assert fitted.known_utility(state, rows, place) == pytest.approx(read @ fitted.known[stage], abs=1e-4)
        read = choice_features.new_features(state, rows, contents, fitted.num_contexts)
        assert fitted.new_utility(state, rows, contents) == pytest.approx(read @ fitted.new[stage], abs=1e-4)
        of_each = fitted.new_utility(state, rows, np.tile(contents, (len(rows), 1)))
        assert fitted.new_utility(state, rows, contents) == pytest.approx(of_each, abs=1e-4)


def test_an_episode_ends_when_its_days_are_over():
    made, over = world(days=2.0), np.zeros(len(ALL), bool)
    for _ in range(200):
        rows = np.flatnonzero(~over)
        if not len(rows):
            break
        assert (made.now_us[rows] < UNTIL_US + 2 * DAY_US).all()
        step = made.step(rows, made.candidates[rows, :4].astype(np.int64))
        over[rows] = step.terminated | step.truncated
        assert not (step.terminated & step.truncated).any()
    assert over.all()


def reaction(outcome: int, number: int) -> Reaction:
    none = np.zeros(number, bool)
    return Reaction(outcome=np.full(number, outcome, np.int8), fraction=np.ones(number, np.float32), liked=none,
                    saved=~none, disliked=none)  # fmt: skip


def test_an_artist_is_adopted_on_the_second_day_of_streams_once_and_only_if_they_were_unknown():
    rewards, rows, artist = Rewards(3), np.arange(3), np.array([4, 4, -1])
    was_known = np.array([False, True, False])
    outcomes = [(0, FINISH), (0, FINISH), (1, SKIP), (2, PARTIAL), (3, FINISH), (4, FINISH)]
    found = [rewards.of(rows, artist, was_known, np.full(3, day * DAY_US), reaction(outcome, 3))
             for day, outcome in outcomes]  # fmt: skip
    assert [list(parts["adopted_artists"]) for parts in found] == [[0] * 3] * 3 + [[1, 0, 0]] + [[0] * 3] * 2
    assert [parts["active_days"][0] for parts in found] == [1, 0, 1, 1, 1, 1]
    assert [parts["streams"][0] for parts in found] == [1, 1, 0, 1, 1, 1]
    assert [parts["finishes"][0] for parts in found] == [1, 1, 0, 0, 1, 1]
    rewards.forget(rows[:1])
    again = rewards.of(rows, artist, was_known, np.full(3, 4 * DAY_US), reaction(FINISH, 3))
    assert list(again["active_days"]) == [1, 0, 0]


def test_an_adopted_artist_is_kept_who_is_still_streamed_in_the_last_seven_days():
    rewards, rows, unknown = Rewards(3), np.arange(3), np.zeros(3, bool)
    for day, artist in ((0, [4, 4, 4]), (20, [4, 5, 4]), (22, [4, 5, 5])):
        rewards.of(rows, np.array(artist), unknown, np.full(3, day * DAY_US), reaction(FINISH, 3))
    # The first kept 4; the second streams 5 on two days and 4 on one; the third left 4 eight days before the end.
    assert list(rewards.kept(rows, np.ones(3, bool), 28 * DAY_US)) == [1, 1, 0]
    assert list(rewards.kept(rows, np.array([True, False, True]), 28 * DAY_US)) == [1, 0, 0]


def test_familiarity_is_what_the_memory_says_at_every_step():
    made = world()
    for _ in range(6):
        seen = made.observe(ALL)
        state, candidates = made.listeners.state, seen["candidates"]
        told = {"candidate_plays": (state.memory, candidates),
                "candidate_artist_plays": (state.artists, made.space.artist[candidates])}  # fmt: skip
        for plays, (memory, code) in told.items():
            place = memory.places_of(ALL, code)
            expected = np.where(place >= 0, memory.plays[ALL[:, None], np.maximum(place, 0)], 0)
            there = candidates >= 0
            assert np.array_equal(seen[plays][there], expected[there])
        assert np.array_equal(seen["candidate_artist_days"] < 0, seen["candidate_artist_plays"] == 0)
        assert np.array_equal(seen["recent_hours"] < 0, seen["recent"] < 0)
        over = made.step(ALL, candidates[:, :4])
        if (over.terminated | over.truncated).any():
            break


def test_candidates_are_near_popular_and_new_without_repeats_and_without_what_is_not_out():
    counted = replace(space(), plays=np.arange(CONTENTS)[::-1].astype(float))
    retrieval = CandidateRetrieval(counted, 20)
    query = counted.vectors[[2, 3]]
    found = retrieval.of(query, np.full(2, UNTIL_US))
    new = [CONTENTS - 4, CONTENTS - 3]
    for row, listener in zip(found, query, strict=True):
        assert len(set(row)) == 20
        assert set(new) <= set(row)
        # Quarters: two are new, eight the most played, and ten the nearest of the rest.
        assert set(range(8)) <= set(row)
        rest = [content for content in row if content >= 8 and content not in new]
        out = counted.is_playable & (counted.released_us <= UNTIL_US)
        others = [content for content in range(8, CONTENTS) if out[content] and content not in [*row]]
        assert min(counted.vectors[rest] @ listener) >= max(counted.vectors[others] @ listener)
    everything = CandidateRetrieval(counted, 200).of(query, np.full(2, UNTIL_US))
    # One cannot be played and one is not out: the last place is empty.
    assert everything.shape == (2, CONTENTS - 1)
    assert (everything[:, -1] == -1).all()
    assert (everything[:, :-1] >= 0).all()
