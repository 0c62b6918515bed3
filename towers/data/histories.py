"""Histories of all listeners of a store: flat columns, a listener's events in time order."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from towers.contract.schema import UNTOLD

HISTORY_COLUMNS = {
    "content_row": np.int32,
    "action": np.int8,
    "timestamp_us": np.int64,
    "played_fraction": np.float32,
    "context": np.int32,
    "session": np.int32,
    "device": np.int32,
    "is_positive": np.bool_,
    "is_discovery": np.bool_,
}


PLACES = ("offsets", "train_end", "validation_start", "validation_end", "test_start")
"""Arrays by listener, of places in the flat columns."""
WITHOUT_GAP = {"validation_start": "train_end", "validation_end": "test_start"}
"""Arrays that older stores lack -> the array that takes their place there."""
Period = Literal["validation", "test"]
Until = Literal["validation", "test", "end"]
"""The period whose start something goes up to, or the end of the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """All events of all listeners, a listener's in time order; memory-mapped.

    Listener `u` has the events `offsets[u]:offsets[u + 1]`; training ends before `train_end[u]`, validation goes from
    `validation_start[u]` to before `validation_end[u]`, the test begins at `test_start[u]`, all places in the flat
    columns. What lies between two periods is in neither: a gap of the split, empty as a rule.

    Args:
        content_row: -1 where an event has no content (search, browse).
        action: index into `schema.ACTIONS`.
        timestamp_us: microseconds since 1970, UTC.
        played_fraction: 0 to 1, -1 where unknown.
        context: code in the vocabulary of contexts.
        session: place of the session's first event in the listener's history, -1 where unknown.
        device: code in the vocabulary of devices.
        is_positive: says that the listener likes the content.
        is_discovery: the listener's first positive event with this content.
    """

    offsets: np.ndarray
    train_end: np.ndarray
    validation_start: np.ndarray
    validation_end: np.ndarray
    test_start: np.ndarray
    content_row: np.ndarray
    action: np.ndarray
    timestamp_us: np.ndarray
    played_fraction: np.ndarray
    context: np.ndarray
    session: np.ndarray
    device: np.ndarray
    is_positive: np.ndarray
    is_discovery: np.ndarray

    @property
    def num_users(self) -> int:
        """Listeners, those without an event included."""
        return len(self.train_end)

    @classmethod
    def read(cls, folder: Path) -> "Histories":
        """Opens the arrays below a folder, memory-mapped."""
        names = (*PLACES, *HISTORY_COLUMNS)
        paths = {name: folder / f"{name}.npy" for name in names}
        found = {name: np.load(path, mmap_mode="r") for name, path in paths.items() if path.exists()}
        untold = {name: np.broadcast_to(np.int32(value), len(found["action"])) for name, value in UNTOLD.items()}
        cuts = {name: found[same] for name, same in WITHOUT_GAP.items()}
        return cls(**untold | cuts | found)

    @property
    def is_training(self) -> np.ndarray:
        """`[events]`, bool: whether an event is in the training period."""
        begin, end = np.asarray(self.offsets[:-1]), np.asarray(self.offsets[1:])
        lengths = np.stack([self.train_end - begin, end - self.train_end], axis=1)
        return np.repeat(np.tile([True, False], len(lengths)), lengths.reshape(-1))

    def known_until(self, until: Until) -> np.ndarray:
        """`[users]`: one past the last event that is known when a period is predicted, or all of them."""
        return {"validation": self.train_end, "test": self.validation_end, "end": self.offsets[1:]}[until]

    def period(self, period: Period) -> tuple[np.ndarray, np.ndarray]:
        """`[users]` each: the first event of a period, and one past its last; its targets lie between."""
        if period == "validation":
            return self.validation_start, self.validation_end
        return self.test_start, self.offsets[1:]

    def trained_until(self, until: Until) -> "Histories":
        """Returns the same events, cut otherwise: training goes up to the start of a period, or to the last event, and
        the periods that lie before that are empty."""
        if until == "validation":
            return self
        end = self.known_until(until)
        cuts = {"train_end": end, "validation_start": end}
        return replace(self, **cuts if until == "test" else {name: end for name in PLACES if name != "offsets"})

    def until(self, time_us: int) -> "Histories":
        """The events before a time (microseconds since 1970, UTC), and the cuts as far as they are before it."""
        is_before = np.asarray(self.timestamp_us) < time_us
        if is_before.all():
            return self
        # What stays of a listener is the beginning, so a place of before is the number of events that stay before it.
        num_before = np.concatenate([[0], np.cumsum(is_before)]).astype(np.int64)
        places = {name: num_before[getattr(self, name)] for name in PLACES}
        return Histories(**places, **{name: np.asarray(getattr(self, name))[is_before] for name in HISTORY_COLUMNS})
