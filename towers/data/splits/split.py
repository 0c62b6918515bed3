"""What a rule for the cuts is asked, and what it answers: where training, validation and test begin and end."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, Integer

DAY_US = 86_400_000_000
UNKNOWN_SESSION = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """The instants that a split cuts at, in microseconds since 1970, UTC.

    Args:
        validation_start_us: when validation begins; null: each listener's own.
        test_start_us: likewise the test.
        gap_us: how long before a period the one before it ends, and with it the histories that are known in it.
        end_us: events from then on are left out of the store; null: none.
    """

    validation_start_us: int | None = None
    test_start_us: int | None = None
    gap_us: int = 0
    end_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenersEvents:
    """All events of some listeners, a listener's in time order.

    Args:
        offsets: from 0; listener `u` has the events `offsets[u]:offsets[u + 1]`.
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
        """Events of each listener."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where a listener's periods begin and end: numbers of their events before it, none below the one before it.

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
    """A rule for the cuts."""

    def cuts(self, first_us: int, last_us: int, has_clock: bool) -> Cuts:
        """The cuts for data whose positive events lie in `[first_us, last_us]`."""
        ...

    def ends(self, events: ListenersEvents, cuts: Cuts) -> Ends:
        """The ends for some listeners; a listener's follow from their own events and the cuts alone."""
        ...

    def settings(self) -> dict[str, Any]:
        """What it was made with, by name, as JSON values: what of it decides a store."""
        ...
