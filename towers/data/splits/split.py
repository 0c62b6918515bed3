"""The interface of a split: where training, validation and test begin and end."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, Integer

UNKNOWN_SESSION = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """The instants that a split cuts at, in microseconds since 1970, UTC.

    Args:
        validation_start_us: start of validation; null: at another time for each listener.
        test_start_us: start of the test; null: at another time for each listener.
        gap_us: time between the end of one period and the start of the next, in microseconds; histories that the next
            period is predicted from end before the gap, too.
        end_us: events at this time or later are left out of the store; null: all are kept.
    """

    validation_start_us: int | None = None
    test_start_us: int | None = None
    gap_us: int = 0
    end_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenersEvents:
    """All events of some listeners, a listener's in time order.

    Args:
        offsets: `[listeners + 1]`, from 0; listener `u` has the events `offsets[u]:offsets[u + 1]`.
        timestamp_us: microseconds since 1970, UTC; where the data has no clock, it orders a listener's events alone.
        is_positive: whether an event says that the listener likes the content.
        session: place of the session's first event in the listener's history, -1 where it is unknown.
    """

    offsets: Int[np.ndarray, " borders"]
    timestamp_us: Int[np.ndarray, " events"]
    is_positive: Bool[np.ndarray, " events"]
    session: Integer[np.ndarray, " events"]

    @property
    def lengths(self) -> Int[np.ndarray, " users"]:
        """`[listeners]`: the number of events of each listener."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Starts and ends of listeners' periods, each as the number of events before it; ascending in the order below.

    Args:
        train_end: events that are trained on, and known when validation is predicted.
        validation_start: events before validation; more than `train_end` where some lie in a gap.
        validation_end: events that are known when the test is predicted.
        test_start: events before the test, which goes on to the listener's last event.
    """

    train_end: Int[np.ndarray, " users"]
    validation_start: Int[np.ndarray, " users"]
    validation_end: Int[np.ndarray, " users"]
    test_start: Int[np.ndarray, " users"]


@runtime_checkable  # for the tests, which check annotations at run time
class Split(Protocol):
    """A rule that divides events into training, validation and test."""

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """Returns the cuts for data whose positive events lie in `[first_us, last_us]`."""
        ...

    def ends(self, events: ListenersEvents, cuts: Cuts) -> Ends:
        """Returns the ends for some listeners; each listener's depend on their own events and the cuts alone."""
        ...

    def settings(self) -> dict[str, Any]:
        """Returns the settings that decide a store, by the names of their keys, as JSON values."""
        ...
