"""Plays of a period with the listeners' plays before it, real or simulated: the input of a check.

A play counts as an earlier play with any outcome, since a listener who skips a content has met it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.simulation.listeners.session_log import SKIP, SessionLog
from towers.simulation.listeners.space import Space

LAST = 20
"""Number of a listener's latest plays that are searched for repeats."""
_BLOCK = 65_536
"""Approximate number of plays whose vectors are summed up at a time."""


@dataclass(frozen=True, slots=False, kw_only=True)
class Heard:
    """The plays of a period, and those of the same listeners before it.

    Args:
        log: plays of the period; the properties' rows are these, in order.
        before: earlier plays, with the same rows of listeners.
        begin_us: start of the period, microseconds since 1970, UTC.
        end_us: end of the period.

    Raises:
        ValueError: the two logs are of other listeners.
    """

    log: SessionLog
    before: SessionLog
    begin_us: int
    end_us: int

    def __post_init__(self) -> None:
        if self.log.user_ids != self.before.user_ids:
            raise ValueError("the plays of the period and those before it are of other listeners")

    @property
    def listeners(self) -> int:
        """Number of listeners, including those without plays."""
        return len(self.log.user_ids)

    @cached_property
    def plays_before(self) -> Int[np.ndarray, " listeners"]:
        """Number of each listener's plays before the period."""
        return np.bincount(self.before.listener, minlength=self.listeners)

    @cached_property
    def earlier(self) -> Int[np.ndarray, " plays"]:
        """Number of the listener's plays of the same content before each play, in the period or earlier."""
        group_begin = np.maximum.accumulate(np.where(self._is_first_of_content, np.arange(len(self._by_content)), 0))
        return self._unsorted(np.arange(len(self._by_content)) - group_begin)

    @cached_property
    def among_last(self) -> Int[np.ndarray, " plays"]:
        """Number of the listener's last `LAST` plays before each play that were of the same content."""
        place = self._place[self._by_content]
        step = int(self._place.max(initial=0)) + LAST + 2
        key = np.cumsum(self._is_first_of_content) * step + place + LAST + 1
        since = np.searchsorted(key, key - LAST)
        return self._unsorted(np.arange(len(key)) - since)

    @cached_property
    def repeats_among_last(self) -> Int[np.ndarray, " plays"]:
        """Number of the listener's last `LAST` plays before each play that were repeats."""
        is_repeat = np.empty(len(self._by_content), np.int64)
        is_repeat[self._by_content] = ~self._is_first_of_content
        total = np.concatenate([[0], np.cumsum(is_repeat)])
        at = np.arange(len(is_repeat))
        return (total[at] - total[at - np.minimum(self._place, LAST)])[self._is_of_period]

    @cached_property
    def since_last_s(self) -> Float[np.ndarray, " plays"]:
        """Seconds since the listener last began to play the same content; NaN for the first time."""
        start = self._start_us[self._by_content]
        since = np.diff(start, prepend=start[:1]) / 1e6
        return self._unsorted(np.where(self._is_first_of_content, np.nan, since))

    @cached_property
    def previous_session_us(self) -> Int[np.ndarray, " sessions"]:
        """Start of the last play before each session, microseconds; -1 where there was none."""
        at = np.flatnonzero(self._is_of_period)[self.log.session_begins]
        had = self._place[at] > 0
        return np.where(had, self._start_us[at - had], -1)

    def affinity(self, space: Space) -> Float[np.ndarray, " plays"]:
        """Returns the cosine of a content and the mean of earlier unskipped plays; NaN without such plays."""
        found = np.full(len(self._order), np.nan)
        content, kept = self._joined("content"), self._joined("outcome") != SKIP
        for begin, end in _blocks(self._listener_begins, len(self._order)):
            vectors = space.vectors[content[begin:end]].astype(np.float64)
            total = np.cumsum(vectors * kept[begin:end, None], axis=0)
            of_others = np.concatenate([np.zeros((1, vectors.shape[1])), total[:-1]])
            first = np.arange(end - begin) - self._place[begin:end]
            liked = of_others - of_others[first]
            length = np.linalg.norm(liked, axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                cosine = np.einsum("pd,pd->p", liked, vectors) / length
            found[begin:end] = np.where(length > 1e-6, cosine, np.nan)
        return found[self._is_of_period]

    @cached_property
    def _order(self) -> Int[np.ndarray, " all_plays"]:
        """Order of earlier plays and the period's by listener; both are sorted by time already."""
        return np.argsort(np.concatenate([self.before.listener, self.log.listener]), kind="stable")

    def _joined(self, column: str) -> np.ndarray:
        return np.concatenate([getattr(self.before, column), getattr(self.log, column)])[self._order]

    @cached_property
    def _is_of_period(self) -> Bool[np.ndarray, " all_plays"]:
        return self._order >= len(self.before)

    @cached_property
    def _start_us(self) -> Int[np.ndarray, " all_plays"]:
        return self._joined("start_us")

    @cached_property
    def _listener_begins(self) -> Int[np.ndarray, " active_listeners"]:
        return np.flatnonzero(np.diff(self._joined("listener"), prepend=-1))

    @cached_property
    def _place(self) -> Int[np.ndarray, " all_plays"]:
        """Place of each play among the listener's plays, from 0."""
        lengths = np.diff(self._listener_begins, append=len(self._order))
        return np.arange(len(self._order)) - np.repeat(self._listener_begins, lengths)

    @cached_property
    def _by_content(self) -> Int[np.ndarray, " all_plays"]:
        """Order by listener, then content, then time."""
        return np.lexsort((self._joined("content"), self._joined("listener")))

    @cached_property
    def _is_first_of_content(self) -> Bool[np.ndarray, " all_plays"]:
        """True, in the order by content, for the first play of a content by a listener."""
        columns = (self._joined(name)[self._by_content] for name in ("listener", "content"))
        return np.logical_or.reduce([np.diff(column, prepend=-1) != 0 for column in columns])

    def _unsorted(self, by_content: np.ndarray) -> np.ndarray:
        found = np.empty_like(by_content)
        found[self._by_content] = by_content
        return found[self._is_of_period]


def _blocks(listener_begins: Int[np.ndarray, " active_listeners"], plays: int) -> list[tuple[int, int]]:
    """Returns the bounds of blocks of whole listeners, each of about `_BLOCK` plays."""
    if not plays:
        return []
    starts = listener_begins[np.unique(listener_begins // _BLOCK, return_index=True)[1]]
    return list(zip(starts.tolist(), [*starts[1:].tolist(), plays], strict=True))
