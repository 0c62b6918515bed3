"""Tests of the split by each listener's last two positive events."""

from hypothesis import given

from tests.data.splits.some_listeners import NO_CUTS, histories, last_two, listeners, periods, signs
from towers.data.splits.leave_one_out import LeaveOneOut


def test_by_hand():
    events = listeners(*map(signs, ("+++", "+-+", "--", "++-+--", "-+-+--+-+", "")))
    assert periods(LeaveOneOut().ends(events, NO_CUTS), events) == [
        [1, 1, 1],
        [3, 0, 0],  # too few positives
        [2, 0, 0],
        [1, 2, 3],  # validation: + -, test: + - -
        [6, 2, 1],
        [0, 0, 0],
    ]


@given(found=histories)
def test_is_what_a_loop_finds(found):
    events = listeners(*found)
    expected = [last_two([is_positive for _, is_positive, _ in history]) for history in found]
    assert periods(LeaveOneOut().ends(events, NO_CUTS), events) == expected


def test_needs_no_clock():
    cuts = LeaveOneOut().cuts(0, 1, False)
    assert cuts.validation_start_us is None
    assert cuts.test_start_us is None
