"""When listeners of a planted world come back, by three laws of which the simulator's own is one."""

from typing import Final, Protocol

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.special import ndtr

from towers.simulation.listeners.returning import EDGES, HOUR_US, Returning
from towers.simulation.listening import HOUR_WEIGHTS

SESSIONS_A_DAY: Final = 0.9
"""Of an average listener."""
_WEEKDAYS: Final = (0.95, 0.9, 0.9, 0.95, 1.1, 1.2, 1.0)
_RECENCY: Final = (1.6, 1.3, 1.0, 0.9, 0.9, 1.1, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5)
"""Of the hazard, by the steps of `EDGES`."""
_SHAPE: Final = 0.8
_MEMORY: Final = 0.5
"""Correlation of one gap with the next, of their normal scores."""
LOSS: Final = 1.5
"""By how much the log-hazard falls from a session without a skip to one of nothing else."""
_USUAL_SKIPS: Final = 0.35


class Returns(Protocol):
    """Draws when listeners come back.

    Attributes:
        scores: `[listeners]`, what is remembered of gaps; changes as they come back.
    """

    scores: Float[np.ndarray, " listeners"]

    def draw(
        self,
        rows: Integer[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        skip_share: Float[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """When the next session of each begins, microseconds; the largest number for never.

        Args:
            rows: of the listeners, who differ.
            ended_us: when their last sessions ended.
            after_us: until when they are known to have stayed away.
            skip_share: of their last sessions' plays.
            rng: draws.
        """
        ...


class ByHazard:
    """The simulator's own law, with parameters that were not fitted.

    Args:
        pace: `[listeners]`, of mean 1.
        loss: by how much the log-hazard falls from a session without a skip to one of nothing else.
    """

    def __init__(self, pace: Float[np.ndarray, " listeners"], loss: float = 0.0):
        hour, weekday = np.array(HOUR_WEIGHTS, float), np.array(_WEEKDAYS)
        assert len(_RECENCY) == len(EDGES)
        self.law = Returning(
            recency=np.array(_RECENCY) * SESSIONS_A_DAY / 24.0, hour=hour / hour.mean(),
            weekday=weekday / weekday.mean(), shape=1.0,
        )  # fmt: skip
        self._pace, self._loss = pace, loss
        self.scores = np.zeros(len(pace))

    def draw(
        self,
        rows: Integer[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        skip_share: Float[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """See `Returns.draw`."""
        pace = self._pace[rows] * np.exp(-self._loss * (skip_share - _USUAL_SKIPS))
        return self.law.draw(pace, ended_us, after_us, rng)


class ByWeibull:
    """Gaps of Weibull distributions, each correlated with the one before; hours of the day play no part.

    Args:
        pace: `[listeners]`, of mean 1.
    """

    def __init__(self, pace: Float[np.ndarray, " listeners"]):
        self._scale_hours = 24.0 / SESSIONS_A_DAY / pace
        self.scores = np.zeros(len(pace))

    def draw(
        self,
        rows: Integer[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        skip_share: Float[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """See `Returns.draw`."""
        self.scores[rows] *= _MEMORY
        self.scores[rows] += np.sqrt(1.0 - _MEMORY**2) * rng.normal(size=len(rows))
        away = np.maximum(after_us - ended_us, 0) / HOUR_US / self._scale_hours[rows]
        # The cumulative hazard that is reached, from where they are known to have stayed away.
        hazard = away**_SHAPE - np.log(np.maximum(ndtr(-self.scores[rows]), 1e-12))
        gap_us = hazard ** (1.0 / _SHAPE) * self._scale_hours[rows] * HOUR_US
        return np.maximum(ended_us + gap_us.astype(np.int64), np.maximum(after_us, ended_us) + 1)
