"""What a step was good for, by part, and the parts that need to remember: days on which somebody listened, and artists
who became theirs."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.simulation.listeners.memory import ContentMemory
from towers.simulation.listeners.response import Reaction
from towers.simulation.listeners.session_log import FINISH, SKIP
from towers.simulation.listeners.state import ListenerState

PARTS: Final = (
    "streams", "finishes", "saves", "likes", "active_days", "adopted_artists", "kept_artists", "skips",
)  # fmt: skip
"""Plays that were not skipped; those heard to their end; saves; likes; days with a play; artists who were unknown
before the episode and whom the listener now played without a skip on a second day; in the last step of an episode, how
many of these were played without a skip in its last `KEPT_DAYS` days; skips."""
KEPT_DAYS: Final = 7
RETURN_WEIGHTS: Final[Mapping[str, float]] = {"active_days": 1.0, "kept_artists": 1.0, "skips": -0.05}
"""What the long-term return of an episode counts: days on which somebody came, artists who became and stayed theirs,
and skips, twenty of which cost a day. A click counts nothing."""
_PLACES: Final = 256


class Rewards:
    """Counts the parts of the reward.

    Args:
        num_listeners: rows.
    """

    def __init__(self, num_listeners: int):
        self._streamed = ContentMemory(num_listeners, _PLACES)
        self._active_day = np.full(num_listeners, -1)

    def forget(self, rows: Integer[np.ndarray, " some"]) -> None:
        """Other listeners begin an episode in these rows."""
        for name, value in self._streamed.arrays().items():
            value[rows] = -1 if name in ("content", "session") else 0
        self._active_day[rows] = -1

    def known_before(
        self,
        state: ListenerState,
        rows: Integer[np.ndarray, " some"],
        content: Integer[np.ndarray, " some"],
        begin_us: Integer[np.ndarray, " some"],
    ) -> Bool[np.ndarray, " some"]:
        """Whether each listener knew the artist before their episode; asked before the play."""
        place = state.artists.places_of(rows, state.space.artist[content])
        return (place >= 0) & (state.artists.first_us[rows, np.maximum(place, 0)] < begin_us)

    def of(
        self,
        rows: Integer[np.ndarray, " some"],
        artist: Integer[np.ndarray, " some"],
        was_known: Bool[np.ndarray, " some"],
        start_us: Integer[np.ndarray, " some"],
        reaction: Reaction,
    ) -> dict[str, Int[np.ndarray, " some"]]:
        """The parts of a step in which each of the listeners, who must differ, played a content.

        Args:
            rows: of the listeners.
            artist: of what they played; -1 where it is not known.
            was_known: see `known_before`.
            start_us: when the play began.
            reaction: what they did.
        """
        is_stream, day = reaction.outcome != SKIP, start_us // DAY_US
        is_active = self._active_day[rows] != day
        self._active_day[rows] = day
        found = {
            "streams": is_stream, "finishes": reaction.outcome == FINISH, "saves": reaction.saved,
            "likes": reaction.liked, "active_days": is_active,
            "adopted_artists": self._adopted(rows, artist, is_stream & ~was_known & (artist >= 0), start_us),
            "skips": ~is_stream,
        }  # fmt: skip
        return {name: part.astype(np.int64) for name, part in found.items()}

    def _adopted(
        self,
        rows: Integer[np.ndarray, " some"],
        artist: Integer[np.ndarray, " some"],
        counts: Bool[np.ndarray, " some"],
        start_us: Integer[np.ndarray, " some"],
    ) -> Bool[np.ndarray, " some"]:
        """Where the artist is streamed on a day after the first one, and was not on any day between."""
        adopted = np.zeros(len(rows), bool)
        rows, artist, start_us = rows[counts], artist[counts], start_us[counts]
        memory = self._streamed
        place = memory.places_of(rows, artist)
        at = rows, np.maximum(place, 0)
        first, last, day = memory.first_us[at] // DAY_US, memory.last_us[at] // DAY_US, start_us // DAY_US
        adopted[counts] = (place >= 0) & (first == last) & (day > last)
        nothing = np.zeros(len(rows), np.int64)
        memory.meet(rows, artist, start_us, nothing, np.zeros(len(rows), bool))
        return adopted

    def streamed_us(
        self, rows: Integer[np.ndarray, " some"], artist: Integer[np.ndarray, "some many"]
    ) -> tuple[Int[np.ndarray, "some many"], Int[np.ndarray, "some many"]]:
        """When in the episode each listener first and last streamed artists who were unknown before it; -1 for never
        and for those who were known."""
        memory = self._streamed
        place = memory.places_of(rows, artist)
        at, is_there = (rows[:, None], np.maximum(place, 0)), (place >= 0) & (artist >= 0)
        return np.where(is_there, memory.first_us[at], -1), np.where(is_there, memory.last_us[at], -1)

    def num_open(self, rows: Integer[np.ndarray, " some"], end_us: int) -> Int[np.ndarray, " some"]:
        """How many artists who were unknown before the episode each listener streamed in it who are not kept yet."""
        memory = self._streamed
        is_kept = (memory.first_us[rows] // DAY_US < memory.last_us[rows] // DAY_US) & (
            memory.last_us[rows] >= end_us - KEPT_DAYS * DAY_US
        )
        return ((memory.content[rows] >= 0) & ~is_kept).sum(axis=1)

    def kept(
        self, rows: Integer[np.ndarray, " some"], is_over: Bool[np.ndarray, " some"], end_us: int
    ) -> Int[np.ndarray, " some"]:
        """Adopted artists who were streamed in an episode's last `KEPT_DAYS` days, where it is over; elsewhere 0."""
        memory, found = self._streamed, np.zeros(len(rows), np.int64)
        over = rows[is_over]
        is_adopted = memory.first_us[over] // DAY_US < memory.last_us[over] // DAY_US
        is_late = memory.last_us[over] >= end_us - KEPT_DAYS * DAY_US
        found[is_over] = (is_adopted & is_late & (memory.content[over] >= 0)).sum(axis=1)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of all that it remembers."""
        kept = {name: value.copy() for name, value in self._streamed.arrays().items()}
        return kept | {"active_day": self._active_day.copy()}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Becomes what `arrays` says."""
        self._streamed.restore(arrays)
        self._active_day[:] = arrays["active_day"]


def total(parts: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> Float[np.ndarray, " some"]:
    """The parts as one number for each listener, float64."""
    return sum((weight * parts[name] for name, weight in weights.items()), np.zeros(len(parts["streams"])))
