"""Fit of a logistic model of a listen to pairs of listeners and contents, calibrated by a curve."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression

from towers.retrieval.listen_chance import LogOdds, chance

PENALTY, UNPENALISED = 30.0, 1e6
"""Inverse strength of the L2 penalty on weights of standardised features, and a value that amounts to no penalty."""
TOLERANCE = 1e-12
"""Mean gradient at which the solver stops. If listens are rare, the gradient is small from the start, and the default
tolerance of scikit-learn would end the fit at once."""
MIN_POSITIVES = 20
"""Smallest number of listens for a fit; with fewer, all pairs have the same chance."""


def fit_log_odds(
    features: Float[np.ndarray, "pairs features"],
    is_listen: Bool[np.ndarray, " pairs"],
    weight: Float[np.ndarray, " pairs"],
    is_left_out: Bool[np.ndarray, " features"] | None = None,
) -> LogOdds:
    """Fits a logistic regression on standardised features; constant features have weight 0.

    Args:
        features: features of each pair.
        is_listen: whether each pair has a listen.
        weight: number of pairs that each represents.
        is_left_out: mask of the features to ignore; null: none.
    """
    listens = float(weight[is_listen].sum())
    if is_listen.sum() < MIN_POSITIVES:
        rate = (listens + 0.5) / (float(weight.sum()) + 1.0)
        return LogOdds(intercept=float(np.log(rate / (1 - rate))), weights=np.zeros(features.shape[1]))
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    varies = deviation > 0
    if is_left_out is not None:
        varies &= ~is_left_out
    scaled = (features[:, varies] - mean[varies]) / deviation[varies]
    model = LogisticRegression(C=PENALTY, solver="newton-cholesky", tol=TOLERANCE)
    model.fit(scaled, is_listen, sample_weight=weight)
    weights = np.zeros(features.shape[1])
    weights[varies] = model.coef_[0] / deviation[varies]
    plain = LogOdds(intercept=float(np.asarray(model.intercept_)[0] - weights @ mean), weights=weights)
    return replace(plain, curve=_curve(plain.sums(features), is_listen, weight))


def _curve(
    sums: Float[np.ndarray, " pairs"], is_listen: Bool[np.ndarray, " pairs"], weight: Float[np.ndarray, " pairs"]
) -> tuple[float, float, float]:
    """Fits a logistic regression on the sums and their squares, and returns constant, slope and bend.

    It returns the identity (0, 1, 0) if the curve would fall with the sums.
    """
    powers = np.column_stack([sums, sums**2])
    mean, deviation = powers.mean(axis=0), powers.std(axis=0)
    if not deviation.all():
        return (0.0, 1.0, 0.0)
    model = LogisticRegression(C=UNPENALISED, solver="newton-cholesky", tol=TOLERANCE)
    model.fit((powers - mean) / deviation, is_listen, sample_weight=weight)
    slope, bend = (float(weight) for weight in model.coef_[0] / deviation)
    middle = float(np.average(sums, weights=weight * chance(sums)))
    if slope + 2 * bend * middle <= 0:
        return (0.0, 1.0, 0.0)
    intercept = np.asarray(model.intercept_)
    return float(intercept[0]) - slope * float(mean[0]) - bend * float(mean[1]), slope, bend
