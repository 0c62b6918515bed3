"""Tests of the filters of plays that hardly began and of immediate repeats."""

import pytest

from tests.data.filters.some_histories import CONTENTS, histories_of
from towers.data.filters.collapse_repeats import CollapseRepeats
from towers.data.filters.min_played_fraction import MinPlayedFraction
from towers.errors import UserError


def kept(rule, *listeners, cuts=None, **columns):
    ends = [[len(one)] * 4 for one in listeners] if cuts is None else cuts
    return "".join("01"[int(stays)] for stays in rule.keep(histories_of(listeners, ends, **columns), CONTENTS))


def test_plays_below_the_fraction_are_left_out():
    events = [(0, action, False) for action in ("play", "play", "play", "skip", "play", "like")]
    fractions = [0.0, 0.1, 0.09, 0.05, -1.0, 0.0]
    assert kept(MinPlayedFraction(0.1), events, played_fraction=fractions) == "010111"


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.5, float("nan")])
def test_a_fraction_that_cannot_be_is_refused_with_its_key(fraction):
    with pytest.raises(UserError, match=r"data\.filters\.min_played_fraction\.fraction="):
        MinPlayedFraction(fraction)


PLAY, SHORT, LIKE, SEARCH = (0, "play", True), (0, "play", False), (0, "like", True), (-1, "search", False)


def test_of_equal_events_in_a_row_the_first_stays():
    other = (1, "play", True)
    assert kept(CollapseRepeats(), [PLAY, PLAY, PLAY, other, PLAY, PLAY]) == "100110"


def test_what_says_something_else_is_no_repeat():
    assert kept(CollapseRepeats(), [SHORT, PLAY, LIKE, PLAY, SEARCH, SEARCH, PLAY]) == "1111111"


def test_another_listener_is_no_repeat():
    assert kept(CollapseRepeats(), [PLAY, PLAY], [], [PLAY]) == "101"


def test_each_period_has_its_own():
    assert kept(CollapseRepeats(), [PLAY] * 10, cuts=[[2, 4, 6, 8]]) == "1010101010"
    assert kept(CollapseRepeats(), [PLAY] * 4, cuts=[[2, 2, 4, 4]]) == "1010"
