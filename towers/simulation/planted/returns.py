"""Laws of the return of a planted world's listeners; one of the three is the simulator's own."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.special import ndtr

from towers.contract.durations import HOUR_US
from towers.simulation.listeners.returning import EDGES, SKIP_SHARES, Returning
from towers.simulation.listening import HOUR_WEIGHTS

SESSIONS_A_DAY: Final = 0.9
"""Sessions a day of an average listener."""
_WEEKDAYS: Final = (0.95, 0.9, 0.9, 0.95, 1.1, 1.2, 1.0)
_RECENCY: Final = (1.6, 1.3, 1.0, 0.9, 0.9, 1.1, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5)
"""Factors of the hazard by the steps of `EDGES`."""
SHAPE: Final = 0.8
MEMORY: Final = 0.5
"""Correlation of consecutive gaps, on the scale of their normal scores."""
LOSS: Final = 1.5
"""Decrease of the log-hazard from a session of no skips to one of only skips."""
_USUAL_SKIPS: Final = 0.35


class Returns(Protocol):
    """A law of when listeners come back."""

    def draw(
        self,
        pace: Float[np.ndarray, " gaps"],
        score: Float[np.ndarray, " gaps"],
        skip_share: Float[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """Draws the start of the next session of each, microseconds; the largest integer for never.

        Args:
            pace: pace of the listeners, mean 1.
            score: normal score of the gap that begins now; see `next_scores`.
            skip_share: skipped share of the last sessions' plays.
            ended_us: end of the last sessions.
            after_us: time until which each is known to have stayed away.
            rng: generator of the draws.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHazard:
    """The simulator's own law, with chosen rather than fitted parameters.

    Args:
        loss: decrease of the log-hazard from a session of no skips to one of only skips.
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
    """Weibull gaps, each correlated with the one before; hours of the day have no effect."""

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
        # Cumulative hazard at the return, beyond the time that they are known to have been away.
        hazard = away**SHAPE - np.log(np.maximum(ndtr(-score), 1e-12))
        gap_us = hazard ** (1.0 / SHAPE) * scale_hours * HOUR_US
        return np.maximum(ended_us + gap_us.astype(np.int64), np.maximum(after_us, ended_us) + 1)


def next_scores(score: Float[np.ndarray, " gaps"], rng: np.random.Generator) -> Float[np.ndarray, " gaps"]:
    """Draws normal scores of gaps from those of the gaps before: standard normal, with correlation `MEMORY`."""
    return MEMORY * score + np.sqrt(1.0 - MEMORY**2) * rng.normal(size=len(score))


def _hazard() -> Returning:
    hour, weekday = np.array(HOUR_WEIGHTS, float), np.array(_WEEKDAYS)
    assert len(_RECENCY) == len(EDGES)
    return Returning(
        recency=np.array(_RECENCY) * SESSIONS_A_DAY / 24.0, hour=hour / hour.mean(), weekday=weekday / weekday.mean(),
        satisfaction=np.ones(len(SKIP_SHARES) + 1), shape=1.0,
    )  # fmt: skip


HAZARD: Final = _hazard()
"""Hazard of a listener of pace 1."""
