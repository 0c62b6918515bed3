"""A split by each listener's last sessions, as work on session-based recommendation uses it."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from towers.contract.durations import MINUTE_US
from towers.data.splits.carrying_out import ends_at_last_two
from towers.data.splits.split import UNKNOWN_SESSION, Cuts, Ends, ListenersEvents
from towers.errors import UserError


class LastSession:
    """A listener's last session with a positive event is the test, the last such session before it is validation.

    Sessions are ordered by their first event. A listener with fewer than three that have a positive event is in
    training alone.

    Args:
        pause_minutes: longest pause within a session, in minutes. An event without a `session_id` begins a session
            after a longer pause, and otherwise belongs to the session of the event before it.

    Raises:
        UserError: the pause is not above 0.
    """

    def __init__(self, pause_minutes: float = 30.0):
        if not pause_minutes > 0:
            raise UserError(f"data.split.pause_minutes={pause_minutes}: must be over 0")
        self._pause_minutes = pause_minutes

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """Returns cuts without instants, since each listener is cut at times of their own.

        Raises:
            UserError: the data has no clock, so that no pause is known.
        """
        if not has_clock:
            raise UserError(
                "data/split=last_session: this data knows the order of events alone, so that no pause between them is "
                "known; use data/split=leave_one_out"
            )
        return Cuts()

    def ends(self, events: ListenersEvents, cuts: Cuts) -> Ends:
        """See `Split`."""
        return ends_at_last_two(events.offsets, self._begins(events))

    def settings(self) -> dict[str, Any]:
        """See `Split`."""
        return {"pause_minutes": self._pause_minutes}

    def _begins(self, events: ListenersEvents) -> Bool[np.ndarray, " events"]:
        """`[events]`, bool: whether an event is the first of a session that holds a positive event."""
        place = np.arange(len(events.session))
        is_first = np.zeros(len(place) + 1, bool)
        is_first[events.offsets] = True
        pause_us = np.diff(events.timestamp_us, prepend=events.timestamp_us[:1])
        is_known = events.session != UNKNOWN_SESSION
        is_new = ~is_known & (is_first[:-1] | (pause_us > self._pause_minutes * MINUTE_US))
        begin = np.where(is_known, events.session + np.repeat(events.offsets[:-1], events.lengths), place)
        # An event without a known session that begins none belongs to the session of the event before it.
        begin = begin[np.maximum.accumulate(np.where(is_known | is_new, place, 0))]
        marked = np.zeros(len(place), bool)
        marked[begin[events.is_positive]] = True
        return marked
