"""Discoveries in a log, and the days of coming back after them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.policies.long_term.outcomes import outcomes_of_streams

STREAMS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 12)), max_size=40)


def found_in(streams, **chosen):
    """Returns outcomes of streams (listener, content, day) in any order; contents 2 n and 2 n + 1 are of one group."""
    ordered = sorted(streams, key=lambda one: (one[0], one[2]))
    listener, content, day = np.array(ordered, np.int64).reshape(-1, 3).T
    chosen = {"end_day": 10, "days": 5} | chosen
    return outcomes_of_streams(listener=listener, content=content, group=content // 2, day=day, **chosen)


def one_by_one(streams, end_day=10, days=5, burn_in_days=0):
    """Computes the outcomes slowly: a set of (listener's discovery) -> (content, observed, days of coming back)."""
    found = []
    for listener in range(3):
        own = sorted((one for one in streams if one[0] == listener), key=lambda one: one[2])
        for group in range(3):
            theirs = [one for one in own if one[1] // 2 == group]
            if theirs and theirs[0][2] < end_day and theirs[0][2] - own[0][2] >= burn_in_days:
                first = theirs[0][2]
                observed = min(days, end_day - 1 - first)
                came = {one[2] - first for one in theirs if one[2] < end_day}
                found.append((theirs[0][1], observed, tuple(day in came for day in range(1, days + 1))))
    return sorted(found)


@settings(max_examples=15)
@given(STREAMS, st.integers(1, 14), st.integers(1, 6), st.integers(0, 3))
def test_it_is_what_one_finds_one_by_one(streams, end_day, days, burn_in_days):
    chosen = {"end_day": end_day, "days": days, "burn_in_days": burn_in_days}
    found = found_in(streams, **chosen)
    rows = zip(found.content.tolist(), found.observed.tolist(), map(tuple, found.returned.tolist()), strict=True)
    assert sorted(rows) == one_by_one(streams, **chosen)


@settings(max_examples=15)
@given(STREAMS)
def test_no_later_stream_changes_anything(streams):
    before = found_in([one for one in streams if one[2] < 10])
    after = found_in(streams)
    np.testing.assert_array_equal(after.content, before.content)
    np.testing.assert_array_equal(after.returned, before.returned)


def test_a_day_that_is_not_over_is_not_observed():
    found = found_in([(0, 0, 7), (0, 1, 8), (0, 0, 9)])
    assert (found.content.tolist(), found.observed.tolist()) == ([0], [2])
    assert found.returned.tolist() == [[True, True, False, False, False]]
    assert found.up_to(1).returned.tolist() == [[True]]
    assert found.up_to(1).observed.tolist() == [1]
