"""Counts in blocks equal counts made one event at a time."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.data.histories import Histories
from towers.data.profiling import tally as tallying
from towers.data.profiling.tally import LONGEST_SESSION, shares_as_day_before, tally

CONTENTS = 4
EVENT = st.tuples(
    st.integers(0, 3 * DAY_US - 1).map(lambda time: time // 400_000 * 400_000),
    st.integers(-1, CONTENTS - 1),
    st.integers(0, len(schema.ACTIONS) - 1),
    st.integers(0, 2),
    st.booleans(),
)
CLASSES = np.array([0 * 4 + 3, 1 * 4 + 1, 0 * 4 + 2, 4 * 4 + 3, 5 * 4 + 3], dtype=np.int32)
"""Heard, listed or not, of four contents; the last is that of no content."""
FIRST_DAY = 20_000


def histories_of(listeners):
    """Makes histories of lists of events; a session lasts an hour, and one session is not known."""
    columns, offsets = [], [0]
    for events in listeners:
        begin, chosen = None, set()
        for place, (time, row, action, context, positive) in enumerate(sorted(events)):
            begin = place if begin is None or time - columns[-1][1] % (10 * DAY_US) > DAY_US // 24 else begin
            positive &= row >= 0
            first = positive and row not in chosen
            chosen |= {row} if positive else set()
            session = -1 if context == 0 else begin
            columns.append((row, FIRST_DAY * DAY_US + time, action, context, session, positive, first))
        offsets.append(len(columns))
    names = ("content_row", "timestamp_us", "action", "context", "session", "is_positive", "is_discovery")
    types = (np.int32, np.int64, np.int8, np.int32, np.int32, np.bool_, np.bool_)
    flat = {
        name: np.array([each[at] for each in columns], kind)
        for at, (name, kind) in enumerate(zip(names, types, strict=True))
    }
    ends = np.array(offsets)[1:]
    heard = np.resize(np.array([-1, 0.25, 0.5, 1], np.float32), len(columns))
    cuts = ("train_end", "validation_start", "validation_end", "test_start")
    places = {"offsets": np.array(offsets), **dict.fromkeys(cuts, ends)}
    return Histories(**places, **flat, played_fraction=heard, device=flat["context"])


@settings(max_examples=40)
@given(st.lists(st.lists(EVENT, max_size=8), min_size=1, max_size=6).filter(any), st.integers(1, 9))
def test_counts_are_those_of_a_loop(listeners, block):
    histories = histories_of(listeners)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tallying, "BLOCK", block)
        found = tally(histories, has_clock=True, content_class=CLASSES, context_of=np.array([0, 1, 1], np.int32),
                      device_of=np.arange(3, dtype=np.int32))  # fmt: skip
    days, events = Counter(), []
    first_day = int(histories.timestamp_us.min()) // DAY_US
    sessions, at_once, sizes, first_heard, played = Counter(), Counter(), Counter(), {}, Counter()
    for listener, (begin, end) in enumerate(zip(histories.offsets[:-1], histories.offsets[1:], strict=True)):
        said = []
        for place in range(begin, end):
            time, row, action = (
                int(getattr(histories, name)[place]) for name in ("timestamp_us", "content_row", "action")
            )
            day = time // DAY_US - first_day
            state = int(histories.is_positive[place]) + int(histories.is_discovery[place])
            events.append(
                (day, time // (DAY_US // 24) % 24, action, state, int(CLASSES[row]), int(histories.context[place]))
            )
            days[day, listener] += 1
            fraction = float(histories.played_fraction[place])
            played[day, fraction >= 0.5] += action == schema.PLAY and fraction >= 0
            session = int(histories.session[place])
            sessions[day] += session == place - begin
            sizes[listener, session] += session >= 0
            at_once[day] += row >= 0 and any(
                (row, action) == (earlier, done) and time - when < 1_000_000 for earlier, done, when in said[-2:]
            )
            said.append((row, action, time))
            if row >= 0:
                first_heard[row] = min(first_heard.get(row, day), day)
    num_days = found.num_days
    assert found.first_day == first_day
    assert found.hours.sum() == len(events)
    for at in ("hours", "actions", "contents", "contexts", "devices"):
        expected = np.zeros_like(getattr(found, at))
        for day, hour, action, state, kind, context in events:
            place = {"hours": (day, hour), "actions": (day, action, state), "contexts": (day, min(context, 1)),
                     "contents": (day, kind // 4, kind // 2 % 2, kind % 2), "devices": (day, context)}[at]  # fmt: skip
            expected[place] += 1
        np.testing.assert_array_equal(getattr(found, at), expected, at)
    assert found.listeners.tolist() == [sum(day == at for at, _ in days) for day in range(num_days)]
    assert found.sessions.tolist() == [sessions[day] for day in range(num_days)]
    assert found.played.tolist() == [[played[day, half] for half in (False, True)] for day in range(num_days)]
    assert found.at_once.tolist() == [at_once[day] for day in range(num_days)]
    known = np.array([size for size in sizes.values() if size], dtype=int)
    np.testing.assert_array_equal(found.session_sizes, np.bincount(known, minlength=LONGEST_SESSION + 1))
    assert found.first_heard[:-1].tolist() == [first_heard.get(row, num_days) for row in range(CONTENTS)]
    assert found.first_done.tolist() == [
        min((day for day, who in days if who == listener), default=num_days) for listener in range(len(listeners))
    ]


def test_events_of_the_day_before_to_the_second():
    second = 1_000_000
    yesterday = [(at * 60 * second, at % CONTENTS, 0, 1, True) for at in range(20)]
    again = [(time + DAY_US + 300_000, *rest) for time, *rest in yesterday[:15]]
    other = [(time + DAY_US, row, 1, *rest) for time, row, _, *rest in yesterday[15:]]
    shares = shares_as_day_before(histories_of([[*yesterday, *again, *other], []]), FIRST_DAY, 2, 40)
    assert shares.tolist() == [[20, 15], [0, 0]]


def test_without_a_clock_all_is_on_one_day():
    histories = histories_of([[(0, 1, 0, 1, True), (2 * DAY_US, 2, 1, 1, False)]])
    few = np.arange(3, dtype=np.int32)
    found = tally(histories, has_clock=False, content_class=CLASSES, context_of=few, device_of=few)
    assert (found.num_days, found.hours.sum(), found.actions.sum()) == (1, 0, 2)
