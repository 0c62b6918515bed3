"""Leave one out: what the literature on sequences cuts by."""

from typing import Any

from towers.data.splits.carrying_out import ends_at_last_two
from towers.data.splits.split import Cuts, Ends, ListenersEvents


class LeaveOneOut:
    """A listener's last positive event is the test, the one before it validation: to compare with the literature.

    Whoever has fewer than three positive events is in training alone.
    """

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """No instants: the cut is another one for every listener."""
        return Cuts()

    def ends(self, events: ListenersEvents, cuts: Cuts) -> Ends:
        """See `Split`; needs no clock."""
        return ends_at_last_two(events.offsets, events.is_positive)

    def settings(self) -> dict[str, Any]:
        """None."""
        return {}
