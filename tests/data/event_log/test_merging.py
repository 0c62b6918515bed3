"""A log to which events arrive in steps equals one to which they arrive at once, and a dictionary as its slow twin."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.event_log.block import LOG_COLUMNS, Arrivals, LogBlock
from towers.data.event_log.merging import Repeated, merge
from towers.features.ragged import Ragged

USERS = 3
Event = tuple[int, int, int, int, int, int]
"""Listener, time, content, action, milliseconds played, session key."""

events = st.lists(
    st.tuples(
        st.integers(0, USERS - 1),
        st.integers(0, 4),
        st.integers(-1, 2),
        st.integers(0, 1),
        st.integers(-1, 1),
        st.integers(0, 3),
    ),
    max_size=25,
)


def empty() -> LogBlock:
    return LogBlock(
        offsets=np.zeros(USERS + 1, np.int64),
        columns={name: np.zeros(0, dtype) for name, dtype in LOG_COLUMNS.items()},
        sessions=Ragged(np.zeros(USERS + 1, np.int64), np.zeros(0, np.uint64)),
    )


def arrivals_of(found: list[Event], file: int) -> Arrivals:
    order = sorted(range(len(found)), key=lambda row: (found[row][0], found[row][1], row))
    user, time, content, action, played, session = (
        np.array([found[row][place] for row in order], np.int64) for place in range(6)
    )
    none = np.full(len(order), -1, np.int32)
    columns = {
        "content_row": content.astype(np.int32),
        "action": action.astype(np.int8),
        "timestamp_us": time,
        "played_ms": played.astype(np.int32),
        "context": none,
        "device": none,
    }
    return Arrivals(
        user=user.astype(np.int32),
        columns=columns,
        session_key=session.astype(np.uint64),
        file=np.full(len(order), file, np.int32),
        file_row=np.array(order, np.int64),
    )


def in_steps(found: list[Event], sizes: list[int]) -> tuple[LogBlock, set[tuple[int, int, bool]]]:
    """Returns the log, and the repeated events: by file, row, and whether they differ. Each step adds a file."""
    block, left, repeated = empty(), list(found), set()
    for file, size in enumerate([*sizes, len(found)]):
        block, more = merge(block, arrivals_of(left[:size], file))
        repeated |= set(zip(more.file.tolist(), more.file_row.tolist(), more.differs.tolist(), strict=True))
        left = left[size:]
    return block, repeated


def by_hand(found: list[Event]) -> tuple[list[Event], list[bool]]:
    """Returns the events that stay, by listener and time; and for each of the others, in order of arrival, whether it
    differs.
    """
    kept: dict[tuple[int, int, int, int], tuple[int, Event]] = {}
    repeated = []
    for place, event in enumerate(found):
        if event[:4] in kept:
            repeated.append(kept[event[:4]][1][4:] != event[4:])
        else:
            kept[event[:4]] = place, event
    order = sorted(kept.values(), key=lambda one: (one[1][0], one[1][1], one[0]))
    return [event for _, event in order], repeated


def read_back(block: LogBlock) -> list[Event]:
    keys = block.session_keys(np.arange(len(block)), block.users)
    names = ("timestamp_us", "content_row", "action", "played_ms")
    columns = [block.users, *(block.columns[name] for name in names), keys]
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=150, deadline=None)
@given(events, st.lists(st.integers(0, 10), max_size=3))
def test_steps_do_not_matter(found: list[Event], sizes: list[int]) -> None:
    at_once, all_repeated = in_steps(found, [])
    block, repeated = in_steps(found, sizes)
    for name in LOG_COLUMNS:
        np.testing.assert_array_equal(block.columns[name], at_once.columns[name])
        assert block.columns[name].dtype == LOG_COLUMNS[name]
    np.testing.assert_array_equal(block.offsets, at_once.offsets)
    np.testing.assert_array_equal(block.sessions.values, at_once.sessions.values)
    np.testing.assert_array_equal(block.sessions.offsets, at_once.sessions.offsets)
    assert sorted(differs for *_, differs in repeated) == sorted(differs for *_, differs in all_repeated)


@settings(max_examples=150, deadline=None)
@given(events, st.lists(st.integers(0, 10), max_size=3))
def test_it_holds_what_a_dictionary_would(found: list[Event], sizes: list[int]) -> None:
    kept, repeated = by_hand(found)
    block, told = in_steps(found, sizes)
    assert read_back(block) == kept
    assert sorted(differs for *_, differs in told) == sorted(repeated)


@settings(max_examples=50, deadline=None)
@given(events, st.integers(0, USERS - 1))
def test_who_is_gone_never_was(found: list[Event], gone: int) -> None:
    block, _ = in_steps(found, [len(found) // 2])
    others, _ = in_steps([event for event in found if event[0] != gone], [])
    left = block.without(np.arange(USERS) == gone)
    assert read_back(left) == read_back(others)


def test_no_part_is_nothing_repeated() -> None:
    assert not len(Repeated.of([]).file)
