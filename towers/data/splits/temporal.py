"""A split at the same two instants for all listeners, as a service in production is judged."""

from typing import Any

from towers.contract.durations import DAY_US
from towers.data.event_times import instant_us, shown_time
from towers.data.splits.carrying_out import ends_at
from towers.data.splits.split import Cuts, Ends, ListenersEvents
from towers.errors import UserError

MAX_SHARE = 0.25
"""Greatest share of the time for validation and for test: training keeps half of it."""


class GlobalTemporal:
    """Train < t1 <= validation < t2 <= test, the same for every listener.

    The default follows from the data: validation and test have `share` of the time from the first positive event to the
    last each, at least `min_days` and at most `max_days`, and never so much that training has less than half.

    A service learns of events only after a delay. With a gap, training ends so long before validation, and validation
    before the test: what lies in a gap is in no period, it is no target and is not trained on, and histories that
    predictions are made from end where the gap begins.

    Args:
        validation_start: t1 as an ISO date or time in UTC, or null for t2 less `validation_days`.
        test_start: t2 likewise, or null for the end of the data less `test_days`.
        validation_days: length of the validation period where t1 is null, in days; null for the default.
        test_days: length of the test period where t2 is null, in days; null for the default, 0 for no test.
        share: default length of each of the two periods as a share of the time that positive events span, above 0
            and at most 0.25.
        min_days: least length of such a period, in days.
        max_days: greatest length of such a period, in days.
        gap_days: length of the gap between training and validation, and between validation and test, in days; it is
            taken from the end of the earlier period.

    Raises:
        UserError: a share or a number of days out of range.
    """

    def __init__(
        self,
        validation_start: str | None = None,
        test_start: str | None = None,
        validation_days: float | None = None,
        test_days: float | None = None,
        share: float = 0.15,
        min_days: float = 1.0,
        max_days: float = 14.0,
        gap_days: float = 0.0,
    ):
        if not 0 < share <= MAX_SHARE:
            raise UserError(f"data.split.share={share}: must lie over 0 and not over {MAX_SHARE}")
        if not 0 <= min_days <= max_days:
            raise UserError(f"data.split.min_days={min_days}: must lie in 0 to data.split.max_days={max_days}")
        if validation_days is not None and not validation_days > 0:
            raise UserError(
                f"data.split.validation_days={validation_days}: must be over 0; data.split.test_days=0 and "
                "train_until=test train on everything"
            )
        if test_days is not None and not test_days >= 0:
            raise UserError(f"data.split.test_days={test_days}: must be 0 or more")
        if not gap_days >= 0:
            raise UserError(f"data.split.gap_days={gap_days}: must be 0 or more")
        self._validation_start, self._test_start = validation_start, test_start
        self._validation_days, self._test_days = validation_days, test_days
        self._share, self._min_days, self._max_days = share, min_days, max_days
        self._gap_days = gap_days

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """Returns the two instants.

        Raises:
            UserError: the data has no clock, or a period would be empty.
        """
        if not has_clock:
            raise UserError("data.split: this data knows the order of events alone; use data/split=leave_one_out")
        default_us, end_us = self._default_us(last_us + 1 - first_us), last_us + 1
        if self._test_start is not None:
            test = instant_us("data.split.test_start", self._test_start)
        else:
            test = end_us - _us_of(self._test_days, default_us)
        if self._validation_start is not None:
            validation = instant_us("data.split.validation_start", self._validation_start)
        else:
            validation = test - _us_of(self._validation_days, default_us)
        is_without_test = self._test_start is None and self._test_days == 0
        gap = round(self._gap_days * DAY_US)
        before_test = 0 if is_without_test else gap
        if not (first_us < validation - gap and validation < test - before_test and test < end_us + is_without_test):
            beside = f" beside the gap of data.split.gap_days={self._gap_days:g}" if gap else ""
            raise UserError(
                f"data.split: validation would begin at {shown_time(validation)} and the test at {shown_time(test)}, "
                f"where positive events go from {shown_time(first_us)} to {shown_time(last_us)}; each period has to "
                f"hold a part of that{beside}: shorten data.split.validation_days and data.split.test_days (null: by "
                "the data), or set data.split.validation_start and data.split.test_start"
            )
        return Cuts(
            validation_start_us=validation,
            test_start_us=test + gap - before_test,
            gap_us=gap,
        )

    def ends(self, events: ListenersEvents, cuts: Cuts) -> Ends:
        """See `Split`."""
        return ends_at(events, cuts)

    def settings(self) -> dict[str, Any]:
        """See `Split`."""
        return {
            "validation_start": self._validation_start, "test_start": self._test_start,
            "validation_days": self._validation_days, "test_days": self._test_days, "share": self._share,
            "min_days": self._min_days, "max_days": self._max_days, "gap_days": self._gap_days,
        }  # fmt: skip

    def _default_us(self, span_us: int) -> int:
        """Returns the default length of a period, in microseconds."""
        days = min(max(self._share * span_us / DAY_US, self._min_days), self._max_days)
        return min(round(days * DAY_US), int(MAX_SHARE * span_us))


def _us_of(days: float | None, default_us: int) -> int:
    return default_us if days is None else round(days * DAY_US)
