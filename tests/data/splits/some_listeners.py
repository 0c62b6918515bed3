"""Makes listeners by hand for tests of splits, and cuts at the last two marked events in a slow way."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from towers.contract.durations import DAY_US
from towers.data.splits.split import Cuts, Ends, ListenersEvents

NO_CUTS = Cuts()
HOUR = 1 / 24
Event = tuple[float, bool, int]
"""Time in days, whether the event is positive, and the place of its session's first event."""


def listeners(*histories: Sequence[Event]) -> ListenersEvents:
    flat = [event for history in histories for event in history]
    days, positive, session = zip(*flat, strict=True) if flat else ((), (), ())
    return ListenersEvents(
        offsets=np.cumsum([0, *map(len, histories)]).astype(np.int64),
        timestamp_us=np.round(np.array(days, np.float64) * DAY_US).astype(np.int64),
        is_positive=np.array(positive, bool),
        session=np.array(session, np.int32),
    )


def signs(text: str) -> list[Event]:
    """Returns an event a day for text such as `+-+`, positive or not, of no known session."""
    return [(float(day), sign == "+", -1) for day, sign in enumerate(text)]


def lengths(ends: Ends, events: ListenersEvents) -> list[list[int]]:
    """Returns each listener's numbers of events in training, in a gap, in validation, in a gap, and in the test."""
    columns = [ends.train_end, ends.validation_start, ends.validation_end, ends.test_start, events.lengths]
    return np.diff(np.stack([np.zeros(len(events.lengths), np.int64), *columns]), axis=0).T.tolist()


def periods(ends: Ends, events: ListenersEvents) -> list[list[int]]:
    """Returns each listener's numbers of events in training, validation and test, where there is no gap."""
    np.testing.assert_array_equal(ends.train_end, ends.validation_start)
    np.testing.assert_array_equal(ends.validation_end, ends.test_start)
    return [found[::2] for found in lengths(ends, events)]


def last_two(marked: Sequence[bool]) -> list[int]:
    """Returns a listener's numbers of events in training, validation and test."""
    places = [place for place, is_marked in enumerate(marked) if is_marked]
    if len(places) < 3:
        return [len(marked), 0, 0]
    return [places[-2], places[-1] - places[-2], len(marked) - places[-1]]


histories = st.lists(
    st.lists(st.tuples(st.integers(0, 20).map(lambda half: half / 2), st.booleans(), st.just(-1)), max_size=8).map(
        sorted
    ),
    max_size=5,
)
"""Listeners with events at few times, so that some are equal; also no listener, and listeners without an event."""
