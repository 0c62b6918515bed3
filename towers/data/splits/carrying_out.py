"""Turns cuts into places in listeners' histories, for all listeners at once."""

import numpy as np
from jaxtyping import Bool, Int

from towers.data.splits.split import Cuts, Ends, ListenersEvents


def ends_at(events: ListenersEvents, cuts: Cuts) -> Ends:
    """Finds the ends of periods that are cut at the same instants for all listeners.

    Args:
        events: events of some listeners, each listener's in order of time.
        cuts: the instants; both must be given.
    """
    assert cuts.validation_start_us is not None, "each listener has their own"
    assert cuts.test_start_us is not None, "each listener has their own"
    validation_start = _before(events, cuts.validation_start_us)
    test_start = _before(events, cuts.test_start_us)
    if not cuts.gap_us:
        return Ends(
            train_end=validation_start, validation_start=validation_start, validation_end=test_start,
            test_start=test_start,
        )  # fmt: skip
    return Ends(
        train_end=_before(events, cuts.validation_start_us - cuts.gap_us),
        validation_start=validation_start,
        validation_end=_before(events, cuts.test_start_us - cuts.gap_us),
        test_start=test_start,
    )


def ends_at_last_two(offsets: Int[np.ndarray, " borders"], is_marked: Bool[np.ndarray, " events"]) -> Ends:
    """Finds the ends where the test begins at a listener's last marked event and validation at the one before it.

    A listener with fewer than three marked events is in training alone.

    Args:
        offsets: `[listeners + 1]`, place of each listener's first event, from 0.
        is_marked: `[events]`, bool.
    """
    lengths = np.diff(offsets)
    marked = np.append([0, 0], np.flatnonzero(is_marked))  # two more, so that a listener without any reads a place, too
    number = np.searchsorted(marked[2:], offsets)
    has_three = np.diff(number) >= 3
    test_start = np.where(has_three, marked[number[1:] + 1] - offsets[:-1], lengths)
    validation_start = np.where(has_three, marked[number[1:]] - offsets[:-1], lengths)
    return Ends(
        train_end=validation_start, validation_start=validation_start, validation_end=test_start, test_start=test_start
    )


def _before(events: ListenersEvents, time_us: int) -> Int[np.ndarray, " users"]:
    """Counts each listener's events before a time.

    A binary search for all listeners at once: its steps grow with the logarithm of the longest history, and no array
    is as long as the events.
    """
    low, high = events.offsets[:-1].copy(), events.offsets[1:].copy()
    for _ in range(int(events.lengths.max(initial=0)).bit_length()):
        middle = (low + high) // 2
        # Where a listener's search has ended, low and high are equal, and the place may be past the last event.
        is_before = (low < high) & (events.timestamp_us[np.minimum(middle, len(events.timestamp_us) - 1)] < time_us)
        low, high = np.where(is_before, middle + 1, low), np.where(is_before, high, middle)
    return low - events.offsets[:-1]
