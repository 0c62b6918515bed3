"""What all listeners of a store did: flat columns, a listener's events in time order."""

from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Histories:
    """All events of all listeners, a listener's in time order; memory-mapped.

    Listener `u` has the events `offsets[u]:offsets[u + 1]`; training ends before `train_end[u]`, validation before
    `test_start[u]`, all positions in the flat columns.

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
        names = ("offsets", "train_end", "test_start", *HISTORY_COLUMNS)
        paths = {name: folder / f"{name}.npy" for name in names}
        found = {name: np.load(path, mmap_mode="r") for name, path in paths.items() if path.exists()}
        untold = {name: np.broadcast_to(np.int32(value), len(found["action"])) for name, value in UNTOLD.items()}
        return cls(**untold | found)

    def until(self, time_us: int) -> "Histories":
        """The events before a time (microseconds since 1970, UTC), and the cuts as far as they are before it."""
        is_before = np.asarray(self.timestamp_us) < time_us
        if is_before.all():
            return self
        # What stays of a listener is the beginning, so a place of before is the number of events that stay before it.
        num_before = np.concatenate([[0], np.cumsum(is_before)]).astype(np.int64)
        places = {name: num_before[getattr(self, name)] for name in ("offsets", "train_end", "test_start")}
        return Histories(**places, **{name: np.asarray(getattr(self, name))[is_before] for name in HISTORY_COLUMNS})
