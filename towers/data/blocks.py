"""Divides all events into blocks of bounded size, each of whole listeners."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

BLOCK_EVENTS = 100_000
"""Events of a piece, at most: few enough for a processor's cache. One listener's are never divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of consecutive listeners and their events.

    Args:
        users: the slice of listener rows.
        events: the slice of their events in the flat columns.
        lengths: `[listeners]`: the number of events of each.
    """

    users: slice
    events: slice
    lengths: Int[np.ndarray, " users"]

    @property
    def size(self) -> int:
        """The number of events."""
        return self.events.stop - self.events.start

    @property
    def user_of_event(self) -> Int[np.ndarray, " events"]:
        """`[events]`: the number of each event's listener within the block, from 0."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def blocks(offsets: np.ndarray, size: int | None = None) -> Iterator[Block]:
    """Yields blocks of all listeners, in order.

    Args:
        offsets: `[users + 1]`, places of the listeners' first events.
        size: greatest number of events of a block, unless one listener has more; null: `BLOCK_EVENTS`.
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
