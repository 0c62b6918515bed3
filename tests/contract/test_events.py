"""The meaning of an event for its content, action by action; `tests/data/test_positives.py` holds SQL to the same."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.contract.events import is_heard, is_positive, is_refused, microseconds_of
from towers.contract.schema import ACTION_CODES, ACTIONS

CODES = st.lists(st.integers(0, len(ACTIONS) - 1), max_size=8)


def judged(actions, rows=None, fractions=None, min_played_fraction=0.5):
    """Returns which events are positive, refused and heard."""
    action = np.array([ACTION_CODES[name] for name in actions], np.int64)
    row = np.zeros(len(action), np.int64) if rows is None else np.array(rows, np.int64)
    fraction = np.full(len(action), -1.0) if fractions is None else np.array(fractions, np.float64)
    positive = is_positive(
        content_row=row, action=action, played_fraction=fraction, min_played_fraction=min_played_fraction
    )
    refused, heard = (judge(content_row=row, action=action) for judge in (is_refused, is_heard))
    return positive.tolist(), refused.tolist(), heard.tolist()


@pytest.mark.parametrize(
    ("action", "positive", "refused", "heard"),
    [
        ("play", True, False, True),
        ("skip", False, True, True),
        ("like", True, False, True),
        ("dislike", False, True, True),
        ("save", True, False, True),
        ("unsave", False, False, True),
        ("search", False, False, False),
        ("browse", False, False, False),
    ],
)
def test_actions(action, positive, refused, heard):
    assert judged([action]) == ([positive], [refused], [heard])
    assert judged([action], rows=[-1]) == ([False], [False], [False])


def test_every_action_is_judged():
    assert set(ACTION_CODES) == {"play", "skip", "like", "dislike", "save", "unsave", "search", "browse"}


@pytest.mark.parametrize(
    ("fraction", "positive"), [(-1.0, True), (0.0, False), (0.49, False), (0.5, True), (1.0, True)]
)
def test_a_play_counts_if_it_went_on_long_enough(fraction, positive):
    assert judged(["play"], fractions=[fraction])[0] == [positive]


@given(CODES, st.floats(0, 1))
def test_nothing_is_both_positive_and_refused(codes, min_played_fraction):
    positive, refused, heard = judged([ACTIONS[code] for code in codes], min_played_fraction=min_played_fraction)
    for chosen, declined, known in zip(positive, refused, heard, strict=True):
        assert not (chosen and declined)
        assert known or not (chosen or declined)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.integers(-14, 14))
def test_microseconds_are_exact(time, hours):
    since = microseconds_of(time)
    assert datetime(1970, 1, 1) + timedelta(microseconds=since) == time
    assert microseconds_of(time.replace(tzinfo=UTC)) == since
    assert microseconds_of(time.replace(tzinfo=timezone(timedelta(hours=hours)))) == since - hours * 3_600 * 10**6
