"""Rolling windows: the same split at several times, to see how much a metric depends on the weeks it is measured in."""

from typing import Any

from towers.contract.durations import DAY_US
from towers.data.event_times import shown_time
from towers.data.splits.carrying_out import ends_at
from towers.data.splits.split import Cuts, Ends, ListenersEvents
from towers.errors import UserError


class RollingWindows:
    """A split in which one of several windows at the end of the data is the test, the time before it is validation,
    the rest training.

    Validation is as long as a window. Events after the window are left out, as if the store had been prepared at its
    end. A sweep over `data.split.window=0,1,2` is a backtest.

    Args:
        windows: number of windows.
        days: length of each window in days; the last one ends with the data, and they follow each other without a gap.
        window: number of the window that is the test; 0 is the oldest.

    Raises:
        UserError: a number out of range.
    """

    def __init__(self, windows: int = 3, days: float = 7.0, window: int = 0):
        if windows < 1:
            raise UserError(f"data.split.windows={windows}: must be at least 1")
        if not days > 0:
            raise UserError(f"data.split.days={days}: must be over 0")
        if not 0 <= window < windows:
            raise UserError(
                f"data.split.window={window}: must lie in 0 (the oldest) to {windows - 1}, as there are "
                f"data.split.windows={windows}"
            )
        self._windows, self._days, self._window = windows, days, window

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """Returns the two instants, and where the window ends.

        Raises:
            UserError: the data has no clock, or none of it is left to train on.
        """
        if not has_clock:
            raise UserError("data.split: this data knows the order of events alone; use data/split=leave_one_out")
        length_us = round(self._days * DAY_US)
        end = last_us + 1 - (self._windows - 1 - self._window) * length_us
        test, validation = end - length_us, end - 2 * length_us
        if not first_us < validation:
            raise UserError(
                f"data.split: training would end at {shown_time(validation)}, where positive events go from "
                f"{shown_time(first_us)} to {shown_time(last_us)}: give fewer data.split.windows={self._windows} or "
                f"shorter data.split.days={self._days:g}"
            )
        is_last = self._window == self._windows - 1
        return Cuts(validation_start_us=validation, test_start_us=test, end_us=None if is_last else end)

    def ends(self, events: ListenersEvents, cuts: Cuts) -> Ends:
        """See `Split`."""
        return ends_at(events, cuts)

    def settings(self) -> dict[str, Any]:
        """See `Split`."""
        return {"windows": self._windows, "days": self._days, "window": self._window}
