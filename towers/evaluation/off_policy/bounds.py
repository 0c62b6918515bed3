"""Confidence intervals of off-policy estimates: bootstrap over listeners, and a bound for any number of listeners.

The requests of one listener depend on each other, so listeners are resampled, not rows.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.intervals import CONFIDENCE, RESAMPLES, Interval, resampled_means, tails
from towers.evaluation.off_policy.estimators import Terms


def bootstrap(
    terms: Mapping[str, Terms],
    listeners: Int[np.ndarray, " requests"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Returns 95 % intervals of estimates from one log: percentiles over common resamples of listeners.

    Args:
        terms: terms of the estimates by name.
        listeners: listener of each request.
        seed: seed of the draws.
        resamples: number of resamples.

    Returns:
        Intervals by name; bounds are NaN if a resample has no weight at all.
    """
    drawn = resampled_values(terms, listeners, seed=seed, resamples=resamples)
    return {name: interval_of(terms[name].value, values) for name, values in drawn.items()}


def resampled_values(
    terms: Mapping[str, Terms],
    listeners: Int[np.ndarray, " requests"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """Returns the estimates of each resample of listeners, by name; see `bootstrap`."""
    columns = np.concatenate([np.column_stack([one.numerators, one.denominators]) for one in terms.values()], axis=1)
    means = resampled_means(_sums(columns, listeners), seed, resamples)
    found, start = {}, 0
    for name, one in terms.items():
        parts = one.numerators.shape[1]
        numerators, denominators = means[:, start : start + parts], means[:, start + parts : start + 2 * parts]
        with np.errstate(divide="ignore", invalid="ignore"):
            found[name] = (numerators / denominators).sum(axis=1)
        start += 2 * parts
    return found


def interval_of(value: float, resampled: Float[np.ndarray, " resamples"]) -> Interval:
    """Returns the 95 % interval of a value from its resampled values."""
    low, high = np.quantile(resampled, tails())
    return Interval(mean=value, low=float(low), high=float(high))


def empirical_bernstein(
    values: Float[np.ndarray, " requests"],
    listeners: Int[np.ndarray, " requests"],
    least: float,
    most: float,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Returns a mean with bounds that hold for any distribution and sample size (Maurer and Pontil 2009).

    Theorem 4: for `n` independent values in [0, 1] with variance `V`, the mean is with probability `1 - d` at most
    `sqrt(2 V ln(2 / d) / n) + 7 ln(2 / d) / (3 (n - 1))` away from the true mean on one side; each side gets half of
    `1 - confidence`. The independent units are listeners: `n` is their number, and a listener's value is the sum over
    their requests divided by the mean number of requests, which is taken as known.

    Args:
        values: value of each request.
        listeners: listener of each request.
        least: lowest possible value of a request.
        most: highest possible value of a request.
        confidence: confidence of both sides together.

    Returns:
        The mean over requests and its bounds, which are infinite for one listener.

    Raises:
        ValueError: a value is not between `least` and `most`.
    """
    if values.min() < least or values.max() > most:
        raise ValueError(f"values must lie between {least} and {most}, got {values.min()} and {values.max()}")
    sums = _sums(np.column_stack([values, np.ones(len(values))]), listeners)
    of_each, requests = sums[:, 0] * len(sums) / len(values), sums[:, 1] * len(sums) / len(values)
    # The range of a listener's value grows with their number of requests.
    few, many = requests.min(), requests.max()
    width = float(max(most * few, most * many) - min(least * few, least * many))
    mean, count = float(values.mean()), len(sums)
    if count < 2:
        return Interval(mean=mean, low=-np.inf, high=np.inf)
    # ln(2 / d) of the theorem, with d = (1 - confidence) / 2 for each side.
    log_term = np.log(4 / (1 - confidence))
    half = np.sqrt(2 * of_each.var(ddof=1) * log_term / count) + 7 * width * log_term / (3 * (count - 1))
    return Interval(mean=mean, low=float(mean - half), high=float(mean + half))


def _sums(
    columns: Float[np.ndarray, "requests columns"], listeners: Int[np.ndarray, " requests"]
) -> Float[np.ndarray, "listeners columns"]:
    """Sums the rows of each listener, so that listeners, not requests, are the independent units."""
    names, listener = np.unique(listeners, return_inverse=True)
    if len(names) == len(listeners):
        return columns
    return np.stack([np.bincount(listener, weights=column, minlength=len(names)) for column in columns.T], axis=1)
