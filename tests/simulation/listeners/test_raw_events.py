import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.listeners.logs import logged, small_space
from towers.simulation.listeners.raw_events import EVENT_SCHEMA, UNTOLD, event_table, session_log
from towers.simulation.listeners.session_log import FINISH, FINISHED, PARTIAL, SKIP, joined

SPACE = small_space()
NAMES = ("home", "radio", UNTOLD)
COLUMNS = (
    "listener", "content", "start_us", "session", "outcome", "fraction", "liked", "saved", "disliked", "position",
)  # fmt: skip
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


PLAYS = st.tuples(
    st.integers(0, len(SPACE) - 1), st.integers(1, 10**7), st.floats(0, 1.1), st.booleans(), st.booleans(),
    st.booleans(), st.booleans(), st.integers(0, 2), st.integers(0, 2),
)  # fmt: skip
SESSIONS = st.lists(st.tuples(st.integers(0, 2), st.lists(PLAYS, min_size=1, max_size=4)), max_size=6)


def log_of(sessions):
    """Draws a log of sessions of three listeners, in which a play may begin before the previous one has ended."""
    rows, now = [], [1_772_000_000_000_000] * 3
    for number, (listener, plays) in enumerate(sessions):
        for content, gap_us, share, is_skip, *others in plays:
            now[listener] += gap_us
            fraction = min(int(share * SPACE.duration_ms[content]) / SPACE.duration_ms[content], 1)
            outcome = SKIP if is_skip else FINISH if fraction >= FINISHED else PARTIAL
            rows.append((listener, content, now[listener], number, outcome, np.float32(fraction), *others))
    names = (
        "listener", "content", "start_us", "session", "outcome", "fraction", "liked", "saved", "disliked", "context",
        "device",
    )  # fmt: skip
    kinds = (int, int, int, int, np.int8, np.float32, bool, bool, bool, int, int)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    parts = {name: [np.array(column, kind)] for name, column, kind in zip(names, columns, kinds, strict=True)}
    return joined(parts, ("ann", "ben", "cat"), NAMES, NAMES)


@settings(max_examples=50)
@given(SESSIONS)
def test_what_is_written_is_read_again(sessions):
    log = log_of(sessions)
    again, left_out = session_log(logged(event_table(log, SPACE, "s"), SPACE), SPACE)
    assert [*left_out.lines()] == []
    expected = log.of_listeners(np.bincount(log.listener, minlength=3) > 0)
    assert again.user_ids == expected.user_ids
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(expected, name), err_msg=name)
        assert getattr(again, name).dtype == getattr(expected, name).dtype
    for code, names in (("context", "contexts"), ("device", "devices")):
        told = np.array(getattr(again, names), object)[getattr(again, code)]
        np.testing.assert_array_equal(told, np.array(NAMES, object)[getattr(log, code)])


@settings(max_examples=50)
@given(SESSIONS, st.lists(st.floats(0, 1), min_size=24, max_size=24))
def test_an_outcome_outlives_whole_milliseconds(sessions, shares):
    """A simulated fraction is any number; rounding changes no finished play to an unfinished one, nor the reverse."""
    log = log_of(sessions)
    low = np.where(log.outcome == FINISH, FINISHED, 0.0)
    high = np.where(log.outcome == PARTIAL, np.nextafter(FINISHED, 0), 1.0)
    fraction = (low + (high - low) * np.array(shares)[: len(log)]).astype(np.float32)
    log = replace(log, fraction=fraction)
    again, _ = session_log(logged(event_table(log, SPACE, "s"), SPACE), SPACE)
    np.testing.assert_array_equal(again.outcome, log.outcome)
    slack = 1.0 / SPACE.duration_ms[log.content]
    assert (np.abs(again.fraction - fraction) <= slack + 1e-6).all()


def events(*rows):
    """Makes a table of events; each row is (seconds since noon, content, action, played_ms, session), of one
    listener.
    """
    columns = {
        "user_id": ["ann" for _ in rows],
        "content_id": [row[1] for row in rows],
        "timestamp": [NOON + dt.timedelta(seconds=row[0]) for row in rows],
        "action": [row[2] for row in rows],
        "played_ms": [row[3] for row in rows],
        "context": ["home" for _ in rows],
        "session_id": [row[4] for row in rows],
        "device": [None for _ in rows],
    }
    return pa.table(columns, schema=EVENT_SCHEMA)


def read(*rows, space=SPACE):
    return session_log(logged(events(*rows), space), space)


def test_outcomes_and_fractions():
    log, _ = read(
        (0, "c0", "play", 899, "s"), (1, "c0", "play", 900, "s"), (2, "c0", "skip", 950, "s"),
        (3, "c0", "play", 2_000, "s"), (4, "c0", "play", None, "s"), (5, "c0", "skip", None, "s"),
    )  # fmt: skip
    assert log.outcome.tolist() == [PARTIAL, FINISH, SKIP, FINISH, FINISH, SKIP]
    assert log.fraction.tolist() == pytest.approx([0.899, 0.9, 0.95, 1, 1, 0])
    assert log.devices == (UNTOLD,)
    assert log.contexts == ("home",)


def test_a_reaction_goes_to_the_last_play_of_its_content_in_its_session():
    log, left_out = read(
        (0, "c0", "play", 1_000, "s"), (1, "c0", "play", 1_000, "s"), (2, "c1", "play", 1_000, "s"),
        (3, "c0", "like", None, "s"), (3, "c1", "save", None, "s"), (4, "c2", "dislike", None, "s"),
        (5, "c2", "play", 1_000, "s"), (6, "c1", "play", 1_000, "t"), (7, "c0", "like", None, "t"),
    )  # fmt: skip
    assert log.liked.tolist() == [False, True, False, False, False]
    assert log.saved.tolist() == [False, False, True, False, False]
    assert not log.disliked.any()  # it came before the only play of that content
    assert left_out.without_play == 2


def test_a_reaction_at_the_very_time_of_a_play_belongs_to_it():
    log, _ = read((0, "c0", "like", None, "s"), (0, "c0", "play", 1_000, "s"))
    assert log.liked.tolist() == [True]


def test_sessions_are_in_the_order_of_their_first_play():
    log, _ = read((0, "c0", "play", 1_000, "t"), (1, "c1", "play", 1_000, "s"), (2, "c2", "play", 1_000, "t"))
    assert log.session.tolist() == [0, 0, 1]
    assert log.content.tolist() == [0, 2, 1]


def test_what_is_left_out_is_counted():
    space = small_space((1_000.0, 2_000.0), is_playable=(True, False))
    log, left_out = read(
        (0, "c0", "play", 1_000, "s"), (1, None, "browse", None, "s"), (2, None, "search", None, "s"),
        (3, "c1", "play", 1_000, "s"), (4, "gone", "play", 1_000, "s"), (5, "c0", "play", 1_000, None),
        (6, "c0", "unsave", None, "s"), (7, "c0", "like", None, "other"),
        space=space,
    )  # fmt: skip
    assert len(log) == 1
    assert [*left_out.lines()] == [
        "left out: 2 events that name no content",
        "left out: 2 events that name a content that the export lacks or that cannot be played",
        "left out: 1 events that are plays without a session_id",
        "left out: 1 events that like, save or dislike a content not played before in their session",
        "left out: 1 events that are neither plays nor likes, saves or dislikes",
    ]
