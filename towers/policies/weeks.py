"""ISO weeks, such as `2026-W29`, by which lists are stored."""

from datetime import date, datetime, timedelta

from towers.errors import UserError


def week_of(day: date) -> str:
    """Returns the ISO week of a day.

    >>> week_of(date(2026, 7, 19)), week_of(date(2027, 1, 1))
    ('2026-W29', '2026-W53')
    """
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}"


def week_of_lists(week: str | None, today: date | None, last_day: date | None) -> str | None:
    """Returns the week of a list: the given one, or that of today, or that of the export's last event; null without any
    of them. The machine's clock is not used, so that a list is the same whenever it is made."""
    day = today or last_day
    return week or (None if day is None else week_of(day))


def monday_of(week: str) -> date:
    """Returns the first day of a week; raises `UserError` for an invalid week."""
    try:
        monday = datetime.strptime(f"{week}-1", "%G-W%V-%u").date()
    except ValueError:
        monday = None
    if monday is None or week_of(monday) != week:
        clock = "" if week else "; this export has no clock to choose it by"
        raise UserError(f"week={week}: must be an ISO week such as 2026-W29{clock}")
    return monday


def weeks_before(week: str, number: int) -> list[str]:
    """Returns a number of weeks before one, the latest first.

    >>> weeks_before("2027-W01", 2)
    ['2026-W53', '2026-W52']
    """
    monday = monday_of(week)
    return [week_of(monday - timedelta(weeks=back)) for back in range(1, number + 1)]
