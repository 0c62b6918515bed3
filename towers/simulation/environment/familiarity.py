"""How well each listener knows their candidates, counted from their log: looked up once a session, then counted on."""

from typing import Any, Final

import numpy as np
from jaxtyping import Integer, Shaped

from towers.contract.durations import DAY_US
from towers.simulation.listeners.state import ListenerState

_OLD_DAYS: Final = 1e6
"""Age of a content whose release is not known."""
_ARRAYS: Final = ("plays", "artist_plays", "artist_first_us")


class Familiarity:
    """What each listener has played of each of their candidates, and of its artist.

    Args:
        num_listeners: rows.
        num_candidates: of each.
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
        """Listeners begin a session with these candidates; -1 in empty places.

        Args:
            state: of all listeners.
            rows: of those who begin.
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
        """Each of the listeners has played a content.

        Args:
            state: of all listeners.
            rows: of them, who must differ.
            candidates: of each.
            content: that was played.
            start_us: when it began.
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
        """What `observation.observed` says of candidates."""
        heard, now_us = self.artist_plays[rows], state.now_us[rows]
        age_days = (now_us[:, None].astype(float) - state.space.released_us[candidates]) / DAY_US
        days = ((now_us[:, None] - self.artist_first_us[rows]) / DAY_US).astype(np.float32)
        return {"candidate_plays": self.plays[rows], "candidate_artist_plays": heard,
                "candidate_age_days": np.clip(age_days, 0.0, _OLD_DAYS).astype(np.float32),
                "candidate_artist_days": np.where(heard > 0, np.maximum(days, 0.0), np.float32(-1.0))}  # fmt: skip

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of all of it; `restore` takes it back."""
        return {name: getattr(self, name).copy() for name in _ARRAYS}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Becomes what `arrays` says."""
        for name in _ARRAYS:
            getattr(self, name)[:] = arrays[name]
