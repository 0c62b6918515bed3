"""All events in pieces of bounded size, each of whole listeners."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

BLOCK_EVENTS = 100_000
"""Events of a piece, at most: few enough for a processor's cache. One listener's are never divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Listeners who follow each other.

    Args:
        users: their rows.
        events: places of their events in the flat columns.
        lengths: how many events each has.
    """

    users: slice
    events: slice
    lengths: Int[np.ndarray, " users"]

    @property
    def size(self) -> int:
        """How many events they have."""
        return self.events.stop - self.events.start

    @property
    def user_of_event(self) -> Int[np.ndarray, " events"]:
        """Whose each event is, numbered from 0 within the block."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def blocks(offsets: np.ndarray, size: int | None = None) -> Iterator[Block]:
    """All listeners, in order.

    Args:
        offsets: `[users + 1]`, places of the listeners' first events.
        size: events of a block at most; null: `BLOCK_EVENTS`.
    """
    first, num_users = 0, len(offsets) - 1
    size = BLOCK_EVENTS if size is None else size
    while first < num_users:
        last = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        last = min(max(last, first + 1), num_users)
        yield Block(
            users=slice(first, last),
            events=slice(int(offsets[first]), int(offsets[last])),
            lengths=np.diff(offsets[first : last + 1]),
        )
        first = last
