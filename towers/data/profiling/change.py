"""Changes between two profiles, and typical days before them."""

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from towers.data.profiling.profile import Day, Profile, difference, sum_of
from towers.data.profiling.thresholds import Thresholds

TYPICAL_DAYS = 28
LEAST_OF_WEEKDAY = 3
"""Equal weekdays that must be known for a day to be held against them alone."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Two profiles of one data set, one after the other.

    Args:
        before: the earlier one.
        after: the later one.
        thresholds: limits above which a difference is reported.
        now_us: the present time, in microseconds since 1970, UTC.
    """

    before: Profile
    after: Profile
    thresholds: Thresholds
    now_us: int

    @cached_property
    def new_days(self) -> list[Day]:
        """Days after the last day of `before`, empty ones included."""
        return [day for day in self.after.days if day.date > self.before.last_day]

    @cached_property
    def late(self) -> Day:
        """New events on days before the last day of `before`, which itself may not have been over."""
        return sum_of([day for day in self._more if day.date < self.before.last_day])

    @cached_property
    def fresh(self) -> Day:
        """All new events as one day, late ones included."""
        return sum_of([*self._more, *self.new_days])

    @cached_property
    def typical_days(self) -> list[Day]:
        """The four weeks up to the last day of `before`, without empty days."""
        return [day for day in self.before.days[-TYPICAL_DAYS:] if day.events]

    @cached_property
    def typical(self) -> Day:
        """All events of the typical days as one day."""
        return sum_of(self.typical_days)

    @property
    def is_known(self) -> bool:
        """Returns whether `before` has enough days for a typical one."""
        return self.after.has_clock and self.before.has_clock and len(self.typical_days) >= self.thresholds.min_days

    @property
    def is_same_way(self) -> bool:
        """Returns whether both were prepared with the same settings, so that only the raw data can differ."""
        return self.before.settings == self.after.settings

    def expected(self, day: Day) -> float:
        """Returns how many events a day should have: as days of the same weekday had, where enough are known."""
        same = [each.events for each in self.before.days if each.events and each.weekday == day.weekday]
        return float(median(same if len(same) >= LEAST_OF_WEEKDAY else [each.events for each in self.typical_days]))

    @cached_property
    def spread(self) -> float:
        """Robust standard deviation of typical days' events around their expected number, as a share of it."""
        off = [abs(day.events / max(self.expected(day), 1) - 1) for day in self.typical_days]
        return 1.4826 * float(median(off))

    def is_chance(self, share: float, of: int, usual: float) -> bool:
        """Says whether chance alone may explain that a share of so many events differs from the usual share."""
        deviation = math.sqrt(max(usual * (1 - usual), 1e-4) / max(of, 1))
        return abs(share - usual) <= self.thresholds.sigmas * deviation

    @cached_property
    def _more(self) -> list[Day]:
        """The new events of each day that both profiles have; nothing where settings differ, as all may be new then."""
        if not self.is_same_way:
            return []
        known = {day.date: day for day in self.before.days}
        return [difference(day, known[day.date]) for day in self.after.days if day.date in known]
