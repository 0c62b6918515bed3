"""Statistics of real and simulated plays, compared with intervals, for all listeners and for segments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.simulation.checks.heard import Heard
from towers.simulation.checks.resampling import Draws, bounds
from towers.simulation.checks.statistics import Statistic

POINTS = 120
"""Maximum number of bins of a curve that are kept for display."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A curve with 95 % bounds of each bin, over listeners and, if simulated, over members of the ensemble too."""

    values: Float[np.ndarray, " bins"]
    low: Float[np.ndarray, " bins"]
    high: Float[np.ndarray, " bins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A statistic of real and simulated plays, compared.

    Args:
        statistic: compared statistic.
        difference: difference that must be within the limit; signed where the statistic has a single bin. NaN where
            there are too few plays.
        low: lower 95 % bound of the difference.
        high: upper 95 % bound of the difference.
        mean: mean distance of the bins, weighted by the counts of the real plays.
        noise: 95 % quantile of the difference that the size of the real sample causes alone. It is half the distance
            of random halves of the listeners, since two halves differ twice as much as the whole from the truth.
        beyond_by_chance: by random split, whether noise alone would have missed the limit.
        labels: labels of the bins to display.
        real: curve of the real plays.
        simulated: curve of the simulated plays.
        is_held: by bin, whether it has enough plays for the limit to apply.
    """

    statistic: Statistic
    difference: float
    low: float
    high: float
    mean: float
    noise: float
    beyond_by_chance: Bool[np.ndarray, " splits"]
    labels: tuple[str, ...]
    real: Curve
    simulated: Curve
    is_held: Bool[np.ndarray, " bins"]

    @property
    def passed(self) -> bool:
        """True if the difference is within the limit."""
        return abs(self.difference) <= self.statistic.limit

    @property
    def is_clear(self) -> bool:
        """True if the sample is large enough to tell: the interval is no wider than the limit."""
        return self.high - self.low <= self.statistic.limit

    @property
    def is_clearly_beyond(self) -> bool:
        """True if the whole interval is beyond the limit."""
        return self.low > self.statistic.limit or self.high < -self.statistic.limit

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON values."""
        statistic = self.statistic
        return {
            "name": statistic.name, "title": statistic.title, "told": statistic.told, "limit": statistic.limit,
            "difference": self.difference, "low": self.low, "high": self.high, "mean": self.mean,
            "noise": self.noise, "missed_by_chance": float(self.beyond_by_chance.mean()),
            "labels": list(self.labels), "is_held": self.is_held.tolist(),
            "real": _listed(self.real), "simulated": _listed(self.simulated),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of a statistic by listener and cell, from which any group of listeners can be compared.

    Args:
        statistic: counted statistic.
        real: sparse matrix `[listeners, cells]` of the real plays.
        simulated: sparse matrix for each member of the ensemble.
    """

    statistic: Statistic
    real: Any
    simulated: tuple[Any, ...]


def counts_of(statistic: Statistic, real: Heard, simulated: Sequence[Heard]) -> Counts:
    """Counts a statistic in real and simulated plays of the same listeners."""
    return Counts(statistic=statistic, real=statistic.counts(real),
                  simulated=tuple(statistic.counts(one) for one in simulated))  # fmt: skip


def compared(counts: Counts, draws: Draws) -> Compared:
    """Compares real and simulated curves, in the sample and in all draws.

    Both use the same draws of the same listeners, so that differences between listeners cancel out.
    """
    statistic = counts.statistic
    real_counts = _summed(counts.real, draws.listeners)
    weights = statistic.weights(real_counts[0])
    real, simulated = statistic.curve(real_counts), _of_ensemble(counts, draws)
    difference = statistic.distance(real, simulated, weights)
    low, high = bounds(difference)
    if difference[0] >= 0 and len(statistic.labels()) > 1:
        low = np.maximum(low, 0.0)
    noise = _noise(counts, draws, weights)
    shown = _shown(len(weights), real_counts[0])
    return Compared(
        statistic=statistic,
        difference=float(difference[0]),
        low=float(low),
        high=float(high),
        mean=_mean_distance(real[0], simulated[0], weights),
        noise=float(np.quantile(known, 0.95)) if len(known := noise[np.isfinite(noise)]) else float("nan"),
        beyond_by_chance=noise > statistic.limit,
        labels=tuple(statistic.labels()[at] for at in shown),
        real=_curve(real[:, shown]),
        simulated=_curve(simulated[:, shown]),
        is_held=weights[shown] > 0,
    )


def _of_ensemble(counts: Counts, draws: Draws) -> Float[np.ndarray, "draws bins"]:
    statistic = counts.statistic
    members = [_summed(one, draws.listeners) for one in counts.simulated]
    pairs = list(zip(draws.members.T[:, :, None], members, strict=True))
    if statistic.is_pooled:
        return statistic.curve(np.add.reduce([share * one for share, one in pairs]))
    return np.add.reduce([share * statistic.curve(one) for share, one in pairs])


def _noise(counts: Counts, draws: Draws, weights: Float[np.ndarray, " bins"]) -> Float[np.ndarray, " splits"]:
    """Returns half the distance of each pair of random halves; NaN where one of them has too few plays."""
    others = draws.listeners[0] - draws.halves
    one, other = (counts.statistic.curve(_summed(counts.real, half)) for half in (draws.halves, others))
    return np.abs(counts.statistic.distance(one, other, weights)) / 2


def _mean_distance(
    real: Float[np.ndarray, " bins"], simulated: Float[np.ndarray, " bins"], weights: Float[np.ndarray, " bins"]
) -> float:
    distance = np.abs(simulated - real)
    known = np.isfinite(distance) & (weights > 0)
    return float(np.average(distance[known], weights=weights[known])) if known.any() else float("nan")


def _summed(counts: Any, weights: Float[np.ndarray, "draws listeners"]) -> Float[np.ndarray, "draws cells"]:
    return np.ascontiguousarray((counts.T @ weights.T).T)


def _shown(bins: int, counts: Float[np.ndarray, " cells"]) -> Int[np.ndarray, " shown"]:
    """Returns the bins to display: from the first to the last with counts, at most `POINTS`."""
    if len(counts) != bins or bins <= 1:
        return np.arange(bins)
    filled = np.flatnonzero(counts)
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, bins - 1)
    return np.unique(np.linspace(first, last, min(POINTS, last - first + 1)).astype(np.int64))


def _curve(drawn: Float[np.ndarray, "draws bins"]) -> Curve:
    low, high = np.clip(bounds(drawn), 0.0, 1.0)  # shares, or a coefficient, in [0, 1]
    return Curve(values=drawn[0], low=low, high=high)


def _listed(curve: Curve) -> dict[str, list[float]]:
    return {"values": curve.values.tolist(), "low": curve.low.tolist(), "high": curve.high.tolist()}
