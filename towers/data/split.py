"""Where the data is cut into training, validation and test."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from towers.errors import UserError

DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """How a split is carried out: the SQL file, and the two instants it uses (microseconds since 1970, UTC)."""

    sql: str
    validation_start_us: int | None = None
    test_start_us: int | None = None


@runtime_checkable  # for the tests, which check annotations at run time
class Split(Protocol):
    """A rule for the cuts."""

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """The cuts for data whose events lie in `[first_us, last_us]`."""
        ...


class GlobalTemporal:
    """Train < t1 <= validation < t2 <= test, the same for every listener.

    Args:
        validation_start: t1 as an ISO date or time in UTC, or null for t2 less `validation_days`.
        test_start: t2 likewise, or null for the end of the data less `test_days`.
        validation_days: length of the validation period where t1 is null, in days.
        test_days: length of the test period where t2 is null, in days.
    """

    def __init__(
        self,
        validation_start: str | None = None,
        test_start: str | None = None,
        validation_days: float = 14.0,
        test_days: float = 14.0,
    ):
        self._validation_start, self._test_start = validation_start, test_start
        self._validation_days, self._test_days = validation_days, test_days

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """Two instants.

        Raises:
            UserError: the data has no clock, or a period would be empty.
        """
        if not has_clock:
            raise UserError("data.split: this data knows the order of events alone; use data/split=leave_one_out")
        test = last_us + 1 - round(self._test_days * DAY_US)
        if self._test_start is not None:
            test = _instant(self._test_start, "data.split.test_start")
        validation = test - round(self._validation_days * DAY_US)
        if self._validation_start is not None:
            validation = _instant(self._validation_start, "data.split.validation_start")
        if not first_us < validation < test <= last_us:
            raise UserError(
                f"data.split: needs first event < t1 < t2 <= last event, has {_spelled(first_us)}, "
                f"{_spelled(validation)}, {_spelled(test)}, {_spelled(last_us)}; set data.split.validation_start and "
                "data.split.test_start, or shorter periods"
            )
        return Cuts(sql="split_temporal", validation_start_us=validation, test_start_us=test)


class LeaveOneOut:
    """A listener's last positive event is the test, the one before it validation: to compare with the literature."""

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """No instants: the cut is another one for every listener."""
        return Cuts(sql="split_leave_one_out")


def _instant(text: str, key: str) -> int:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"{key}={text}: not an ISO date or time, such as 2026-06-29 or 2026-06-29T12:00") from None
    instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
    return round(instant.timestamp() * 1_000_000)


def _spelled(instant_us: int) -> str:
    return datetime.fromtimestamp(instant_us / 1e6, UTC).isoformat(timespec="seconds")
