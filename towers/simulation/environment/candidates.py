"""What a service would have at hand for a listener who comes: near their taste, popular, and new."""

from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract.durations import DAY_US
from towers.simulation.environment.observation import recent_taste
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import ListenerState

_SHARES: Final = (0.5, 0.75)
"""Up to where in a listener's candidates the nearest ones reach, and then the popular ones; the rest is new."""
NEW_DAYS: Final = 14
_BLOCK: Final = 512
_MOST_DAYS: Final = 64


class CandidateRetrieval:
    """Candidates of listeners: half of them the nearest to a query, a quarter the most played ones of the fit's log, a
    quarter the latest of the last `NEW_DAYS` days (more popular ones where there are too few), no content twice.

    Nearest ones are found exactly: work and memory grow with the number of contents.

    Args:
        space: contents, with the plays of the fit.
        number: of candidates of a listener; fewer where fewer can be played.
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
        """What a listener of whom nothing is known is taken to like: the mean of all plays."""

    def of(
        self, query: Float[np.ndarray, "some dim"], now_us: Integer[np.ndarray, " some"]
    ) -> Int[np.ndarray, "some candidates"]:
        """Rows of contents by row, int32; -1 in the last places where fewer have been released.

        Args:
            query: of each listener.
            now_us: of each listener; nothing later is offered.
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
        """Those of listeners at this instant, by the contents that they played last; see `of`."""
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
        """Places of what everybody is offered who comes on a day, and whether each content is out at its begin."""
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
