"""Parts of a step's reward, including those that need memory: active days, and adopted artists."""

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
"""Plays that were not skipped; plays heard to their end; saves; likes; days with a play; artists unknown before the
episode that the listener now streamed on a second day; in the last step of an episode, the number of these streamed in
its last `KEPT_DAYS` days; skips."""
KEPT_DAYS: Final = 7
RETURN_WEIGHTS: Final[Mapping[str, float]] = {"active_days": 1.0, "kept_artists": 1.0, "skips": -0.05}
"""Weights of the long-term return of an episode: active days, kept artists, and skips, twenty of which cost a day.
 A click has no weight."""
_PLACES: Final = 256


class Rewards:
    """Counts the parts of the reward.

    Args:
        num_listeners: number of rows.
    """

    def __init__(self, num_listeners: int):
        self._streamed = ContentMemory(num_listeners, _PLACES)
        self._active_day = np.full(num_listeners, -1)

    def forget(self, rows: Integer[np.ndarray, " some"]) -> None:
        """Clears the memory of rows in which other listeners begin an episode."""
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
        """Returns whether each listener knew the artist before their episode; to be called before the play."""
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
        """Returns the parts of a step in which each of some distinct listeners played a content.

        Args:
            rows: rows of the listeners.
            artist: artist of each played content; -1 where unknown.
            was_known: see `known_before`.
            start_us: start of the play.
            reaction: reaction of each listener.
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
        """Returns where an artist is streamed who was streamed on exactly one earlier day of the episode."""
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
        """Returns when in the episode each listener first and last streamed artists unknown before it; -1 for never
        and for known artists."""
        memory = self._streamed
        place = memory.places_of(rows, artist)
        at, is_there = (rows[:, None], np.maximum(place, 0)), (place >= 0) & (artist >= 0)
        return np.where(is_there, memory.first_us[at], -1), np.where(is_there, memory.last_us[at], -1)

    def num_open(self, rows: Integer[np.ndarray, " some"], end_us: int) -> Int[np.ndarray, " some"]:
        """Returns the number of artists that were unknown before the episode, streamed in it, and are not kept yet."""
        memory = self._streamed
        is_kept = (memory.first_us[rows] // DAY_US < memory.last_us[rows] // DAY_US) & (
            memory.last_us[rows] >= end_us - KEPT_DAYS * DAY_US
        )
        return ((memory.content[rows] >= 0) & ~is_kept).sum(axis=1)

    def kept(
        self, rows: Integer[np.ndarray, " some"], is_over: Bool[np.ndarray, " some"], end_us: int
    ) -> Int[np.ndarray, " some"]:
        """Returns the number of kept artists where the episode is over; elsewhere 0."""
        memory, found = self._streamed, np.zeros(len(rows), np.int64)
        over = rows[is_over]
        is_adopted = memory.first_us[over] // DAY_US < memory.last_us[over] // DAY_US
        is_late = memory.last_us[over] >= end_us - KEPT_DAYS * DAY_US
        found[is_over] = (is_adopted & is_late & (memory.content[over] >= 0)).sum(axis=1)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns copies of all state."""
        kept = {name: value.copy() for name, value in self._streamed.arrays().items()}
        return kept | {"active_day": self._active_day.copy()}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Restores the result of `arrays`."""
        self._streamed.restore(arrays)
        self._active_day[:] = arrays["active_day"]


def total(parts: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> Float[np.ndarray, " some"]:
    """Returns the weighted sum of the parts for each listener, float64."""
    return sum((weight * parts[name] for name, weight in weights.items()), np.zeros(len(parts["streams"])))
