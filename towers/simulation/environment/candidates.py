"""Candidate retrieval: contents near a listener's taste, popular ones, and new ones."""

from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.simulation.environment.observation import recent_taste
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import ListenerState

_SHARES: Final = (0.5, 0.75)
"""Cumulated shares of the nearest candidates, and of the nearest and the popular ones; the rest are new."""
NEW_DAYS: Final = 14
_BLOCK: Final = 512
_MOST_DAYS: Final = 64


class CandidateRetrieval:
    """Retrieves candidates: half are the nearest to a query, a quarter the most played contents of the fit's log, and a
    quarter the latest of the last `NEW_DAYS` days (more popular ones where there are too few); no content twice.

    The nearest contents are found exactly: time and memory grow with the number of contents.

    Args:
        space: space of the contents, with the plays of the fit.
        number: candidates of a listener; fewer where fewer contents can be played.
    """

    def __init__(self, space: Space, number: int):
        self._space = space
        self._playable = np.flatnonzero(space.is_playable)
        self._vectors = np.ascontiguousarray(space.vectors[self._playable])
        self.number = min(number, len(self._playable))
        self._by_day: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        plays = space.plays[self._playable] + 1.0
        mean = plays @ self._vectors / plays.sum()
        self.default_query = (mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float32)
        """Query of a listener without known plays: the mean of all plays."""

    def of(
        self, query: Float[np.ndarray, "some dim"], now_us: Integer[np.ndarray, " some"]
    ) -> Int[np.ndarray, "some candidates"]:
        """Returns rows of contents, sorted, int32; -1 in the last places where too few have been released.

        Args:
            query: query of each listener.
            now_us: time of each listener; contents released later are not candidates.
        """
        found = np.empty((len(query), self.number), np.int32)
        days = now_us // DAY_US
        for day in np.unique(days):
            which = np.flatnonzero(days == day)
            for begin in range(0, len(which), _BLOCK):
                rows = which[begin : begin + _BLOCK]
                found[rows] = self._of_day(query[rows], int(day))
        return found

    def for_listeners(
        self, state: ListenerState, rows: Integer[np.ndarray, " some"]
    ) -> Int[np.ndarray, "some candidates"]:
        """Returns the candidates of listeners at their present time, by the contents they played last; see `of`."""
        taste = recent_taste(state, rows)
        taste = np.where(taste.any(axis=1, keepdims=True), taste, self.default_query)
        return self.of(taste, state.now_us[rows])

    def _of_day(self, query: np.ndarray, day: int) -> np.ndarray:
        shared, is_released = self._shared(day)
        score = query @ self._vectors.T
        score[:, ~is_released] = -np.inf
        score[:, shared] = np.inf
        best = np.argpartition(score, score.shape[1] - self.number, axis=1)[:, -self.number :]
        rows = np.where(is_released[best], self._playable[best], len(self._space))
        rows.sort(axis=1)
        return np.where(rows == len(self._space), -1, rows)

    def _shared(self, day: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns places of the contents offered to all listeners on a day, and which contents are released by then."""
        if day not in self._by_day:
            while len(self._by_day) >= _MOST_DAYS:
                del self._by_day[next(iter(self._by_day))]
            released = self._space.released_us[self._playable]
            is_released = released <= day * DAY_US
            near, popular = (int(share * self.number) for share in _SHARES)
            is_new = is_released & (released > (day - NEW_DAYS) * DAY_US)
            latest = np.argsort(-released, kind="stable")
            new = latest[is_new[latest]][: self.number - popular]
            popularity = np.argsort(-self._space.plays[self._playable], kind="stable")
            popularity = popularity[is_released[popularity] & ~np.isin(popularity, new)]
            shared = np.concatenate([new, popularity[: self.number - near - len(new)]])
            self._by_day[day] = shared, is_released
        return self._by_day[day]
