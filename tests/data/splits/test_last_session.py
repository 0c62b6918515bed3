"""Tests of the split by each listener's last two sessions with a positive event."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.splits.some_listeners import HOUR, NO_CUTS, histories, last_two, listeners, periods
from towers.data.splits.last_session import LastSession
from towers.errors import UserError


def cut(*found, **settings):
    events = listeners(*found)
    return periods(LastSession(**settings).ends(events, NO_CUTS), events)


def test_sessions_that_the_data_names():
    history = [(0, True, 0), (1, True, 1), (1, True, 1), (2, True, 3), (2, False, 3), (3, True, 5), (3, False, 5)]
    nothing_chosen = [*history, (4, False, 7), (5, False, 7)]
    assert cut(history, nothing_chosen) == [[3, 2, 2], [3, 2, 4]]


def test_sessions_of_two_devices_at_once_begin_with_their_first_event():
    both = [(0, True, 0), (1, False, 1), (1, True, 2), (1, True, 1), (1, False, 2), (2, False, 5)]
    assert cut(both) == [[1, 1, 4]]


def test_fewer_than_three_sessions_with_a_choice_are_in_training_alone():
    assert cut([(0, True, 0), (1, True, 1), (2, False, 2)], [], [(0, True, 0)]) == [[3, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_a_pause_ends_a_session_where_it_is_not_named():
    minute = HOUR / 60
    times = [0, 30 * minute, 61 * minute, 91 * minute, 130 * minute, 131 * minute]
    history = [(time, True, -1) for time in times]  # pauses of 30, 31, 30, 39 and 1 minutes
    assert cut(history) == [[2, 2, 2]]
    assert cut(history, pause_minutes=20.0) == [[3, 1, 2]]
    assert cut(history, pause_minutes=60.0) == [[6, 0, 0]]


def test_an_event_without_a_name_is_of_the_session_before_it_unless_a_pause_lies_between():
    minute = HOUR / 60
    history = [(0, True, 0), (1, True, 1), (1 + minute, True, -1), (2, True, -1), (2 + minute, True, 4)]
    assert cut(history) == [[3, 1, 1]]


@given(found=histories)
def test_pauses_are_what_a_loop_finds(found):
    def marked(history):
        begin, chosen = 0, set()
        for place, (day, is_positive, _) in enumerate(history):
            if place and day - history[place - 1][0] > 0.75:
                begin = place
            if is_positive:
                chosen.add(begin)
        return [place in chosen for place in range(len(history))]

    assert cut(*found, pause_minutes=0.75 * 24 * 60) == [last_two(marked(history)) for history in found]


def test_data_without_a_clock_is_refused():
    with pytest.raises(UserError, match="leave_one_out"):
        LastSession().cuts(0, 1, False)


@pytest.mark.parametrize("pause", [0.0, -1.0, float("nan")])
def test_a_pause_that_cannot_be_is_refused_with_its_key(pause):
    with pytest.raises(UserError, match=r"data\.split\.pause_minutes="):
        LastSession(pause_minutes=pause)


@given(moved=st.integers(-(10**6), 10**6))
def test_listeners_are_cut_by_themselves(moved):
    """The cuts are the same however far the next listener's first event is from the last of the one before."""
    one = [(float(day), True, -1) for day in range(4)]
    other = [(day + moved, True, -1) for day, _, _ in one]
    assert cut(one, other) == [[2, 1, 1]] * 2
    assert np.array_equal(cut(one), [[2, 1, 1]])
