"""Logistic regression with a trait of each listener, shrunk to the population: one chance of one event.

`P(event) = 1 / (1 + exp(-(x · weights + bias + trait of the listener)))`, traits normal about 0. Weights are found by
maximum likelihood with a ridge, traits by their posterior mode, their spread by the EM step of the Laplace
approximation (Breslow and Clayton 1993, "Approximate inference in generalized linear mixed models").
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Integer

_ROUNDS: Final = 12
_TRAIT_STEPS: Final = 4
_HALVINGS: Final = 6
_RIDGE: Final = 3.0
"""Strength of the prior for weights of 0 of standardised features, in rows."""
_MIN_SPREAD: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedLogistic:
    """A fitted chance of an event.

    Args:
        mean: `[features]`, means of the fit's rows.
        scale: `[features]`, standard deviation of the fit's rows; 1 where it was 0.
        weights: `[features]`, weights of standardised features.
        bias: log-odds of an average row and listener.
        spread: standard deviation of listeners' traits, in log-odds.
    """

    mean: Float[np.ndarray, " features"]
    scale: Float[np.ndarray, " features"]
    weights: Float[np.ndarray, " features"]
    bias: float
    spread: float

    def log_odds(self, features: Float[np.ndarray, "*rows features"]) -> Float[np.ndarray, "*rows"]:
        """Returns the log-odds for an average listener."""
        weights = (self.weights / self.scale).astype(np.float32)
        return features @ weights + np.float32(self.bias - float(self.mean @ (self.weights / self.scale)))

    def chance(
        self, features: Float[np.ndarray, "*rows features"], trait: Float[np.ndarray, "*#rows"]
    ) -> Float[np.ndarray, "*rows"]:
        """Returns the chance for listeners with these traits."""
        return sigmoid(self.log_odds(features) + trait)

    def traits(
        self,
        features: Float[np.ndarray, "rows features"],
        happened: Bool[np.ndarray, " rows"],
        listener: Integer[np.ndarray, " rows"],
        num_listeners: int,
    ) -> tuple[Float[np.ndarray, " listeners"], Float[np.ndarray, " listeners"]]:
        """Returns each listener's posterior mode of the trait and standard deviation; 0 and `spread` without rows."""
        return _traits(
            self.log_odds(features), happened.astype(float), listener, np.zeros(num_listeners), np.ones(num_listeners),
            self.spread,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Returns the parameters by name, for a file."""
        return {name: getattr(self, name) for name in ("mean", "scale", "weights", "bias", "spread")}


def fit_mixed_logistic(
    features: Float[np.ndarray, "rows features"],
    happened: Bool[np.ndarray, " rows"],
    listener: Integer[np.ndarray, " rows"],
    listener_weights: Float[np.ndarray, " listeners"],
    start: MixedLogistic | None = None,
) -> MixedLogistic:
    """Fits weights, bias and the spread of traits.

    Args:
        features: features in any units.
        happened: whether the event happened.
        listener: row of each row's listener.
        listener_weights: weight of each listener, for a bootstrap; 1 otherwise.
        start: earlier fit of nearly the same rows, which makes this one faster.
    """
    mean, scale = (start.mean, start.scale) if start else _scales(features)
    # float32 halves the cost of the products; the sums below are float64.
    rows = np.concatenate([(features - mean) / scale, np.ones((len(features), 1))], axis=1, dtype=np.float32)
    weight = listener_weights[listener]
    target = happened.astype(float)
    ridge = np.append(np.full(rows.shape[1] - 1, _RIDGE), 1e-3)
    if start:
        coefficients, spread = np.append(start.weights, start.bias), start.spread
    else:
        share = (float(weight @ target) + 0.5) / (float(weight.sum()) + 1.0)
        coefficients, spread = np.append(np.zeros(rows.shape[1] - 1), np.log(share / (1.0 - share))), 0.5
    traits = np.zeros(len(listener_weights))
    for _ in range(_ROUNDS // 3 if start else _ROUNDS):
        fixed = (rows @ coefficients.astype(np.float32)).astype(float)
        traits, deviation = _traits(fixed, target, listener, traits, listener_weights, spread)
        chance = sigmoid(fixed + traits[listener])
        gradient = rows.T @ (weight * (target - chance)).astype(np.float32) - ridge * coefficients
        curvature = (weight * np.maximum(chance * (1.0 - chance), 1e-6)).astype(np.float32)
        hessian = (rows * curvature[:, None]).T @ rows + np.diag(ridge)
        step = np.linalg.solve(hessian.astype(float), gradient.astype(float))
        # A whole step overshoots for very rare or very frequent events; it is halved until the likelihood grows.
        offset, reached = traits[listener], -np.inf
        before = _likelihood(fixed + offset, target, weight) - 0.5 * float(ridge @ coefficients**2)
        for _ in range(_HALVINGS):
            moved = coefficients + step
            reached = _likelihood(rows @ moved.astype(np.float32) + offset, target, weight) - 0.5 * float(
                ridge @ moved**2
            )
            if reached >= before:
                coefficients = moved
                break
            step = step / 2.0
        counted = listener_weights > 0
        variance = np.average((traits**2 + deviation**2)[counted], weights=listener_weights[counted])
        spread = max(float(np.sqrt(variance)), _MIN_SPREAD)
    return MixedLogistic(mean=mean, scale=scale, weights=coefficients[:-1], bias=float(coefficients[-1]), spread=spread)


def _likelihood(
    log_odds: Float[np.ndarray, " rows"], target: Float[np.ndarray, " rows"], weight: Float[np.ndarray, " rows"]
) -> float:
    return float(weight @ (target * log_odds - np.logaddexp(0.0, log_odds)))


def _scales(features: Float[np.ndarray, "rows features"]) -> tuple[np.ndarray, np.ndarray]:
    deviation = features.std(axis=0, dtype=float)
    return features.mean(axis=0, dtype=float), np.where(deviation > 1e-6, deviation, 1.0)


def _traits(
    fixed: Float[np.ndarray, " rows"],
    target: Float[np.ndarray, " rows"],
    listener: Integer[np.ndarray, " rows"],
    start: Float[np.ndarray, " listeners"],
    listener_weights: Float[np.ndarray, " listeners"],
    spread: float,
) -> tuple[Float[np.ndarray, " listeners"], Float[np.ndarray, " listeners"]]:
    """Takes Newton's steps for all listeners at once.

    A bootstrap repeats whole listeners, and a repeated listener has one trait, so weights have no effect here.
    """
    traits, curvature = start, np.full(len(listener_weights), spread**-2)
    for _ in range(_TRAIT_STEPS):
        chance = sigmoid(fixed + traits[listener])
        gradient = np.bincount(listener, target - chance, len(traits)) - traits / spread**2
        curvature = np.bincount(listener, chance * (1.0 - chance), len(traits)) + spread**-2
        traits = traits + np.clip(gradient / curvature, -1.0, 1.0)
    return traits, curvature**-0.5


def sigmoid(log_odds: Float[np.ndarray, "*rows"]) -> Float[np.ndarray, "*rows"]:
    """Returns `1 / (1 + exp(-log_odds))`, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0)))
