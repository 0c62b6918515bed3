"""Plays of a period with what each listener had played before: what a check looks at, of real and of simulated plays.

A play counts as played before whatever its outcome: who skipped a content has met it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.simulation.listeners.session_log import SKIP, SessionLog
from towers.simulation.listeners.space import Space

LAST = 20
"""How many of a listener's last plays are looked at for what comes again and again."""
_BLOCK = 65_536
"""Plays whose vectors are summed up at a time."""


@dataclass(frozen=True, slots=False, kw_only=True)
class Heard:
    """The plays of a period, and those of the same listeners before it.

    Args:
        log: the plays of the period; what the properties tell is of these, in their order.
        before: earlier plays, with the same listeners' rows.
        begin_us: when the period begins, microseconds since 1970, UTC.
        end_us: when it ends.

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
        """Number of listeners, with those who played nothing."""
        return len(self.log.user_ids)

    @cached_property
    def plays_before(self) -> Int[np.ndarray, " listeners"]:
        """How often each listener played before the period."""
        return np.bincount(self.before.listener, minlength=self.listeners)

    @cached_property
    def earlier(self) -> Int[np.ndarray, " plays"]:
        """How often the listener had played this content before this play, in the period or earlier."""
        group_begin = np.maximum.accumulate(np.where(self._is_first_of_content, np.arange(len(self._by_content)), 0))
        return self._unsorted(np.arange(len(self._by_content)) - group_begin)

    @cached_property
    def among_last(self) -> Int[np.ndarray, " plays"]:
        """How many of the listener's last `LAST` plays were of this very content."""
        place = self._place[self._by_content]
        step = int(self._place.max(initial=0)) + LAST + 2
        key = np.cumsum(self._is_first_of_content) * step + place + LAST + 1
        since = np.searchsorted(key, key - LAST)
        return self._unsorted(np.arange(len(key)) - since)

    @cached_property
    def repeats_among_last(self) -> Int[np.ndarray, " plays"]:
        """How many of the listener's last `LAST` plays were of contents that they had played before."""
        is_repeat = np.empty(len(self._by_content), np.int64)
        is_repeat[self._by_content] = ~self._is_first_of_content
        total = np.concatenate([[0], np.cumsum(is_repeat)])
        at = np.arange(len(is_repeat))
        return (total[at] - total[at - np.minimum(self._place, LAST)])[self._is_of_period]

    @cached_property
    def since_last_s(self) -> Float[np.ndarray, " plays"]:
        """Seconds since the listener last began to play this content; NaN at the first time."""
        start = self._start_us[self._by_content]
        since = np.diff(start, prepend=start[:1]) / 1e6
        return self._unsorted(np.where(self._is_first_of_content, np.nan, since))

    @cached_property
    def previous_session_us(self) -> Int[np.ndarray, " sessions"]:
        """When the last play of the listener's session before each session began; -1 where there was none."""
        at = np.flatnonzero(self._is_of_period)[self.log.session_begins]
        had = self._place[at] > 0
        return np.where(had, self._start_us[at - had], -1)

    def affinity(self, space: Space) -> Float[np.ndarray, " plays"]:
        """Cosine of a content and the mean of what the listener had not skipped before; NaN without such plays."""
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
        """Earlier plays and the period's, by listener; both are by time already."""
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
        """The place of a play among the listener's, from 0."""
        lengths = np.diff(self._listener_begins, append=len(self._order))
        return np.arange(len(self._order)) - np.repeat(self._listener_begins, lengths)

    @cached_property
    def _by_content(self) -> Int[np.ndarray, " all_plays"]:
        """An order by listener and content, and by time within."""
        return np.lexsort((self._joined("content"), self._joined("listener")))

    @cached_property
    def _is_first_of_content(self) -> Bool[np.ndarray, " all_plays"]:
        """In the order by content: whether it is the first play of this content by this listener."""
        columns = (self._joined(name)[self._by_content] for name in ("listener", "content"))
        return np.logical_or.reduce([np.diff(column, prepend=-1) != 0 for column in columns])

    def _unsorted(self, by_content: np.ndarray) -> np.ndarray:
        found = np.empty_like(by_content)
        found[self._by_content] = by_content
        return found[self._is_of_period]


def _blocks(listener_begins: Int[np.ndarray, " active_listeners"], plays: int) -> list[tuple[int, int]]:
    """Bounds of blocks of whole listeners, each of about `_BLOCK` plays."""
    if not plays:
        return []
    starts = listener_begins[np.unique(listener_begins // _BLOCK, return_index=True)[1]]
    return list(zip(starts.tolist(), [*starts[1:].tolist(), plays], strict=True))
