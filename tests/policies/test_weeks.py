"""ISO weeks."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import UserError
from towers.policies.weeks import monday_of, week_of, week_of_lists, weeks_before


@given(st.dates(date(1990, 1, 1), date(2100, 1, 1)), st.integers(1, 60))
def test_weeks_before_are_weeks_of_days_before(day: date, number: int) -> None:
    week = week_of(day)
    assert monday_of(week) == day - timedelta(days=day.weekday())
    assert weeks_before(week, number) == [week_of(day - timedelta(weeks=back)) for back in range(1, number + 1)]


@pytest.mark.parametrize("week", ["", "2026", "2026-29", "2026-W00", "2025-W53", "2026-W7", "W29", "2026-W29-1"])
def test_no_weeks(week: str) -> None:
    with pytest.raises(UserError, match=f"week={week}: must be an ISO week"):
        monday_of(week)


def test_no_clock_of_the_machine_says_the_week() -> None:
    day, last = date(2026, 7, 20), date(2026, 7, 13)
    assert week_of_lists("2026-W01", day, last) == "2026-W01"
    assert week_of_lists(None, day, last) == "2026-W30"
    assert week_of_lists(None, None, last) == "2026-W29"
    assert week_of_lists(None, None, None) is None
