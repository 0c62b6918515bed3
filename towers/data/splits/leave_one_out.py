"""Leave-one-out: the split that the literature on sequential recommendation uses."""

from typing import Any

from towers.data.splits.carrying_out import ends_at_last_two
from towers.data.splits.split import Cuts, Ends, ListenersEvents


class LeaveOneOut:
    """A listener's last positive event is the test, the positive event before it is validation.

    A listener with fewer than three positive events is in training alone.
    """

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """Returns cuts without instants, since each listener is cut at times of their own."""
        return Cuts()

    def ends(self, events: ListenersEvents, cuts: Cuts) -> Ends:
        """See `Split`; needs no clock."""
        return ends_at_last_two(events.offsets, events.is_positive)

    def settings(self) -> dict[str, Any]:
        """There are no settings."""
        return {}
