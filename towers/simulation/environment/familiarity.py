"""Familiarity of listeners with their candidates: looked up in their log once a session, then counted on."""

from typing import Any, Final

import numpy as np
from jaxtyping import Integer, Shaped

from towers.contract.durations import DAY_US
from towers.simulation.listeners.state import ListenerState

_OLD_DAYS: Final = 1e6
"""Age of a content whose release date is unknown."""
_ARRAYS: Final = ("plays", "artist_plays", "artist_first_us")


class Familiarity:
    """Plays by each listener of each of their candidates, and of its artist.

    Args:
        num_listeners: number of rows.
        num_candidates: number of candidates of each listener.
    """

    def __init__(self, num_listeners: int, num_candidates: int):
        shape = num_listeners, num_candidates
        self.plays = np.zeros(shape, np.int32)
        self.artist_plays = np.zeros(shape, np.int32)
        self.artist_first_us = np.zeros(shape, np.int64)

    def begin(
        self,
        state: ListenerState,
        rows: Integer[np.ndarray, " some"],
        candidates: Integer[np.ndarray, "some candidates"],
    ) -> None:
        """Looks up the candidates of listeners who begin a session; -1 in empty places.

        Args:
            state: state of all listeners.
            rows: rows of the listeners who begin.
            candidates: rows of contents.
        """
        place = state.memory.places_of(rows, candidates)
        at = rows[:, None], np.maximum(place, 0)
        self.plays[rows] = np.where(place >= 0, state.memory.plays[at], 0)
        place = state.artists.places_of(rows, state.space.artist[candidates])
        at = rows[:, None], np.maximum(place, 0)
        self.artist_plays[rows] = np.where(place >= 0, state.artists.plays[at], 0)
        self.artist_first_us[rows] = np.where(place >= 0, state.artists.first_us[at], 0)

    def played(
        self,
        state: ListenerState,
        rows: Integer[np.ndarray, " some"],
        candidates: Integer[np.ndarray, "some candidates"],
        content: Integer[np.ndarray, " some"],
        start_us: Integer[np.ndarray, " some"],
    ) -> None:
        """Counts a play of each of some listeners.

        Args:
            state: state of all listeners.
            rows: rows of the listeners, all distinct.
            candidates: candidates of each.
            content: played content of each.
            start_us: start of each play.
        """
        artist = state.space.artist
        self.plays[rows] += candidates == content[:, None]
        of_artist = (artist[candidates] == artist[content][:, None]) & (artist[content] >= 0)[:, None]
        heard = self.artist_plays[rows]
        first_us = self.artist_first_us[rows]
        self.artist_first_us[rows] = np.where(of_artist & (heard == 0), start_us[:, None], first_us)
        self.artist_plays[rows] = heard + of_artist

    def told(
        self,
        state: ListenerState,
        rows: Integer[np.ndarray, " some"],
        candidates: Integer[np.ndarray, "some candidates"],
    ) -> dict[str, Shaped[np.ndarray, "some candidates"]]:
        """Returns the part of an observation about candidates; see `observation.observed`."""
        heard, now_us = self.artist_plays[rows], state.now_us[rows]
        age_days = (now_us[:, None].astype(float) - state.space.released_us[candidates]) / DAY_US
        days = ((now_us[:, None] - self.artist_first_us[rows]) / DAY_US).astype(np.float32)
        return {"candidate_plays": self.plays[rows], "candidate_artist_plays": heard,
                "candidate_age_days": np.clip(age_days, 0.0, _OLD_DAYS).astype(np.float32),
                "candidate_artist_days": np.where(heard > 0, np.maximum(days, 0.0), np.float32(-1.0))}  # fmt: skip

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns copies of all arrays, for `restore`."""
        return {name: getattr(self, name).copy() for name in _ARRAYS}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Restores the result of `arrays`."""
        for name in _ARRAYS:
            getattr(self, name)[:] = arrays[name]
