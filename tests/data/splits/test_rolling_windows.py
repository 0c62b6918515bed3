"""Tests of the split by windows that follow each other at the end of the data."""

import numpy as np
import pytest

from tests.data.splits.some_listeners import listeners, periods
from towers.contract.durations import DAY_US
from towers.data.splits.rolling_windows import RollingWindows
from towers.errors import UserError

LAST_US = 20 * DAY_US - 1


def cuts(window: int, **settings: float):
    return RollingWindows(windows=3, days=4.0, window=window).cuts(0, LAST_US, True)


def test_a_window_is_what_the_next_one_validates_by():
    days = [(found.validation_start_us, found.test_start_us, found.end_us) for found in map(cuts, range(3))]
    assert days == [
        (4 * DAY_US, 8 * DAY_US, 12 * DAY_US),
        (8 * DAY_US, 12 * DAY_US, 16 * DAY_US),
        (12 * DAY_US, 16 * DAY_US, None),
    ]


def test_everything_before_is_training():
    events = listeners([(day, True, -1) for day in range(12)], [(9, True, -1)])
    assert periods(RollingWindows(windows=3, days=4.0).ends(events, cuts(0)), events) == [[4, 4, 4], [0, 0, 1]]


def test_one_window_is_the_temporal_split():
    found = RollingWindows(windows=1, days=4.0).cuts(0, LAST_US, True)
    assert (found.test_start_us, found.end_us) == (16 * DAY_US, None)


@pytest.mark.parametrize(
    "wrong", [{"windows": 0}, {"days": 0.0}, {"window": 3}, {"window": -1}, {"windows": 2, "window": 2}]
)
def test_a_number_that_cannot_be_is_refused_with_its_key(wrong):
    with pytest.raises(UserError, match=rf"data\.split\.{list(wrong)[-1]}="):
        RollingWindows(**wrong)


def test_too_many_windows_for_the_data_are_refused():
    with pytest.raises(UserError, match=r"data\.split: training would end at 1970-01-01.*data\.split\.windows=4"):
        RollingWindows(windows=4, days=4.0).cuts(DAY_US, LAST_US, True)


def test_data_without_a_clock_is_refused():
    with pytest.raises(UserError, match="leave_one_out"):
        RollingWindows().cuts(0, LAST_US, False)


def test_windows_are_whole_microseconds():
    found = RollingWindows(windows=3, days=1 / 7, window=0).cuts(0, LAST_US, True)
    instants = [found.validation_start_us or 0, found.test_start_us or 0, found.end_us or 0]
    assert np.diff(instants).tolist() == [round(DAY_US / 7)] * 2
