"""Possible times of events, and what impossible ones look like."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from towers.contract.events import microseconds_of
from towers.errors import UserError

EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_TOO_LARGE = {1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}
_TOO_SMALL = {
    1e3: "milliseconds taken for microseconds, or seconds for milliseconds",
    1e6: "seconds taken for microseconds, or milliseconds for nanoseconds",
    1e9: "seconds taken for nanoseconds",
}


def instant_us(key: str, text: str) -> int:
    """A day or a time as the caller writes it, in microseconds since 1970; in UTC where it names no zone.

    Raises:
        UserError: it is neither; names `key`.
    """
    try:
        return microseconds_of(datetime.fromisoformat(text))
    except ValueError:
        raise UserError(f"{key}={text}: not an ISO date or time, such as 2026-06-29 or 2026-06-29T12:00") from None


def shown_time(instant_us: int) -> str:
    """A time as a caller writes it, in UTC.

    >>> shown_time(1_767_225_600_000_000)
    '2026-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(instant_us / 1e6, UTC).isoformat(timespec="seconds")


def in_range(seconds: Any) -> Any:
    """Returns whether a time, in seconds since 1970, is possible for an event; for a number or an array."""
    return (seconds >= EARLIEST.timestamp()) & (seconds < LATEST.timestamp())


def looks_like(seconds: float) -> str | None:
    """The unit in which a number that is too large for seconds since 1970 would be a possible time; null: in none.

    >>> looks_like(1_767_225_600_000.0), looks_like(3.0)
    ('milliseconds', None)
    """
    return next((unit for factor, unit in _TOO_LARGE.items() if in_range(seconds / factor)), None)


def is_of_another_unit(seconds: np.ndarray) -> np.ndarray:
    """Returns which numbers are impossible in seconds but possible in another unit, which `looks_like` names."""
    return np.logical_or.reduce([in_range(seconds / factor) for factor in _TOO_LARGE])


def taken_as_utc(where: str, times: pa.ChunkedArray | pa.Array) -> str | None:
    """A line about timestamps that name no time zone; null where they name one.

    >>> taken_as_utc("events/", pa.array([datetime(2026, 1, 5, 8, 30)], pa.timestamp("us")))
    'events/: timestamps have no time zone and are taken as UTC, such as 2026-01-05 08:30:00; if they are local times, \
write them with their zone'

    Args:
        where: they stand, as the caller knows it.
        times: some of them.
    """
    if not pa.types.is_timestamp(times.type) or times.type.tz is not None:
        return None
    units = [time for time in times.cast(pa.int64()).to_pylist() if time is not None][:1]
    example = [np.datetime64(time, times.type.unit).astype("datetime64[s]") for time in units]
    shown = "".join(f", such as {time}".replace("T", " ") for time in example)
    return (
        f"{where}: timestamps have no time zone and are taken as UTC{shown}; if they are local times, write them with "
        "their zone"
    )


def described_time(time_us: int) -> str:
    """A time that is out of range in words, with the unit that it looks to be written in.

    >>> described_time(1_767_225_600_000 * 1_000_000)
    '1767225600000 seconds since 1970; these look like milliseconds taken for seconds'
    >>> described_time(1_767_225_600)
    '1970-01-01 00:29:27; these look like seconds taken for microseconds, or milliseconds for nanoseconds'
    """
    seconds = time_us / 1e6
    shown = f"{time_us // 1_000_000} seconds since 1970"
    if datetime.min.year < np.datetime64(time_us, "us").astype("datetime64[Y]").astype(int) + 1970 < datetime.max.year:
        shown = f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S}"
    unit = looks_like(seconds)
    if unit is not None:
        return f"{shown}; these look like {unit} taken for seconds"
    words = next((words for factor, words in _TOO_SMALL.items() if in_range(seconds * factor)), None)
    return f"{shown}; these look like {words}" if words is not None else shown
