"""Counts of how often each card was seen and rewarded in each segment: the whole state of segment-wise policies."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Outcomes

NOT_KNOWN = -1
"""Segment of a listener whose segment is not known."""
ARRAYS = ("content_rows", "seen", "rewarded")


class Counts:
    """Counts of cards, by segment. They grow with the segments and cards in the outcomes."""

    def __init__(self) -> None:
        self.content_rows: Int[np.ndarray, " cards"] = np.zeros(0, np.int64)
        # Row 0 is of listeners whose segment is not known, row s + 1 of segment s.
        self._seen = np.zeros((1, 0))
        self._rewarded = np.zeros((1, 0))

    @property
    def total(self) -> float:
        """Number of cards that were seen, over all segments."""
        return float(self._seen.sum())

    def fade(self, keep: float) -> None:
        """Multiplies every count by a share to keep."""
        self._seen, self._rewarded = self._seen * keep, self._rewarded * keep

    def add(self, outcomes: Outcomes, segments: Int[np.ndarray, " rows"]) -> None:
        """Counts the outcomes that were seen.

        Args:
            outcomes: results of slots; unseen ones are ignored.
            segments: segment of each row; `NOT_KNOWN` where it has none.
        """
        rows, is_seen = outcomes.content_rows[outcomes.is_seen], outcomes.is_seen
        if not len(rows):
            return
        own = segments[is_seen] + 1
        self._grow(np.union1d(self.content_rows, rows), max(len(self._seen), int(own.max()) + 1))
        cards = len(self.content_rows)
        cell = own * cards + np.searchsorted(self.content_rows, rows)
        size = self._seen.size
        self._seen = self._seen + np.bincount(cell, minlength=size).reshape(-1, cards)
        rewards = np.bincount(cell, outcomes.rewards[is_seen], size).reshape(-1, cards)
        self._rewarded = self._rewarded + rewards

    def of(
        self, segment: int, content_rows: Int[np.ndarray, " cards"]
    ) -> tuple[Float[np.ndarray, " cards"], Float[np.ndarray, " cards"]]:
        """Returns how often cards were seen and rewarded in a segment; `NOT_KNOWN`: in all segments together."""
        if segment + 1 >= len(self._seen) or not len(self.content_rows):
            return np.zeros(len(content_rows)), np.zeros(len(content_rows))
        place = np.minimum(np.searchsorted(self.content_rows, content_rows), len(self.content_rows) - 1)
        is_known = self.content_rows[place] == content_rows
        of_all = slice(None) if segment == NOT_KNOWN else slice(segment + 1, segment + 2)
        seen, rewarded = self._seen[of_all].sum(axis=0), self._rewarded[of_all].sum(axis=0)
        return np.where(is_known, seen[place], 0.0), np.where(is_known, rewarded[place], 0.0)

    def state(self) -> dict[str, np.ndarray]:
        """Returns its arrays; later counts do not change them."""
        return {"content_rows": self.content_rows, "seen": self._seen, "rewarded": self._rewarded}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Restores what `state` returned.

        Raises:
            ValueError: an array is missing, or has another shape.
        """
        for name in ARRAYS:
            if name not in state:
                raise ValueError(f"{name} is missing from the state")
        rows, seen, rewarded = (state[name] for name in ARRAYS)
        for name, array in (("seen", seen), ("rewarded", rewarded)):
            if array.ndim != 2 or not len(array) or array.shape[1:] != rows.shape or array.shape != seen.shape:
                raise ValueError(f"{name} must be [segments, {len(rows)}], got {list(array.shape)}")
        self.content_rows, self._seen, self._rewarded = rows, seen, rewarded

    def _grow(self, content_rows: Int[np.ndarray, " cards"], segments: int) -> None:
        """Makes room for cards and segments; existing counts stay."""
        place = np.searchsorted(content_rows, self.content_rows)
        for name in ("_seen", "_rewarded"):
            before = getattr(self, name)
            larger = np.zeros((segments, len(content_rows)))
            larger[: len(before), place] = before
            setattr(self, name, larger)
        self.content_rows = content_rows
