"""When listeners of a planted world come back, by three laws of which the simulator's own is one."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.special import ndtr

from towers.contract.durations import HOUR_US
from towers.simulation.listeners.returning import EDGES, SKIP_SHARES, Returning
from towers.simulation.listening import HOUR_WEIGHTS

SESSIONS_A_DAY: Final = 0.9
"""Of an average listener."""
_WEEKDAYS: Final = (0.95, 0.9, 0.9, 0.95, 1.1, 1.2, 1.0)
_RECENCY: Final = (1.6, 1.3, 1.0, 0.9, 0.9, 1.1, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5)
"""Of the hazard, by the steps of `EDGES`."""
SHAPE: Final = 0.8
MEMORY: Final = 0.5
"""Correlation of one gap with the next, of their normal scores."""
LOSS: Final = 1.5
"""By how much the log-hazard falls from a session without a skip to one of nothing else."""
_USUAL_SKIPS: Final = 0.35


class Returns(Protocol):
    """Draws when listeners come back."""

    def draw(
        self,
        pace: Float[np.ndarray, " gaps"],
        score: Float[np.ndarray, " gaps"],
        skip_share: Float[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """When the next session of each begins, microseconds; the largest number for never.

        Args:
            pace: of the listeners, of mean 1.
            score: normal score of the gap that now begins; see `next_scores`.
            skip_share: of the last sessions' plays.
            ended_us: when the last sessions ended.
            after_us: until when each is known to have stayed away.
            rng: draws.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHazard:
    """The simulator's own law, with parameters that were not fitted.

    Args:
        loss: by how much the log-hazard falls from a session without a skip to one of nothing else.
    """

    loss: float = 0.0

    def draw(
        self,
        pace: Float[np.ndarray, " gaps"],
        score: Float[np.ndarray, " gaps"],
        skip_share: Float[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """See `Returns.draw`."""
        return HAZARD.draw(pace * np.exp(-self.loss * (skip_share - _USUAL_SKIPS)), ended_us, after_us, rng)


class ByWeibull:
    """Gaps of Weibull distributions, each correlated with the one before; hours of the day play no part."""

    def draw(
        self,
        pace: Float[np.ndarray, " gaps"],
        score: Float[np.ndarray, " gaps"],
        skip_share: Float[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """See `Returns.draw`."""
        scale_hours = 24.0 / SESSIONS_A_DAY / pace
        away = np.maximum(after_us - ended_us, 0) / HOUR_US / scale_hours
        # The cumulative hazard that is reached, from where they are known to have stayed away.
        hazard = away**SHAPE - np.log(np.maximum(ndtr(-score), 1e-12))
        gap_us = hazard ** (1.0 / SHAPE) * scale_hours * HOUR_US
        return np.maximum(ended_us + gap_us.astype(np.int64), np.maximum(after_us, ended_us) + 1)


def next_scores(score: Float[np.ndarray, " gaps"], rng: np.random.Generator) -> Float[np.ndarray, " gaps"]:
    """Normal scores of gaps from those of the gaps before: standard normal, and correlated by `MEMORY`."""
    return MEMORY * score + np.sqrt(1.0 - MEMORY**2) * rng.normal(size=len(score))


def _hazard() -> Returning:
    hour, weekday = np.array(HOUR_WEIGHTS, float), np.array(_WEEKDAYS)
    assert len(_RECENCY) == len(EDGES)
    return Returning(
        recency=np.array(_RECENCY) * SESSIONS_A_DAY / 24.0, hour=hour / hour.mean(), weekday=weekday / weekday.mean(),
        satisfaction=np.ones(len(SKIP_SHARES) + 1), shape=1.0,
    )  # fmt: skip


HAZARD: Final = _hazard()
"""The hazard of a listener of pace 1."""
