"""How sure an estimate is: the bootstrap over listeners, and a bound that holds for any number of them.

What one listener adds depends on what they added before, so listeners are drawn, and not rows.
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
    """95 % intervals of estimates of one log: percentiles over resampled listeners, the same for all estimates.

    Args:
        terms: by name.
        listeners: of the requests.
        seed: of the draws.
        resamples: how many.

    Returns:
        By name; bounds are NaN where a resample has no weight at all.
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
    """The estimates of each resample of listeners, by name; see `bootstrap`."""
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
    """The 95 % interval of a figure, from what it is in resamples."""
    low, high = np.quantile(resampled, tails())
    return Interval(mean=value, low=float(low), high=float(high))


def empirical_bernstein(
    values: Float[np.ndarray, " requests"],
    listeners: Int[np.ndarray, " requests"],
    least: float,
    most: float,
    confidence: float = CONFIDENCE,
) -> Interval:
    """A mean, and bounds that hold whatever the distribution and however few there are (Maurer and Pontil 2009).

    Theorem 4: for `n` independent values within [0, 1] of variance `V`, the mean is at most `sqrt(2 V ln(2 / d) / n) +
    7 ln(2 / d) / (3 (n - 1))` away from the true one on one side, but for a chance of `d`; each side gets half of
    `1 - confidence`. What is independent is a listener: `n` are listeners, each with the sum of their requests over
    the mean number of requests, which is taken for known.

    Args:
        values: of each request.
        listeners: of the requests.
        least: the lowest that a value of a request can be.
        most: the highest.
        confidence: of both sides together.

    Returns:
        The mean over requests and its bounds; infinite ones where there is one listener.

    Raises:
        ValueError: a value is not between the least and the most.
    """
    if values.min() < least or values.max() > most:
        raise ValueError(f"values must lie between {least} and {most}, got {values.min()} and {values.max()}")
    sums = _sums(np.column_stack([values, np.ones(len(values))]), listeners)
    of_each, requests = sums[:, 0] * len(sums) / len(values), sums[:, 1] * len(sums) / len(values)
    # A listener of many requests can add more than one of few.
    few, many = requests.min(), requests.max()
    width = float(max(most * few, most * many) - min(least * few, least * many))
    mean, count = float(values.mean()), len(sums)
    if count < 2:
        return Interval(mean=mean, low=-np.inf, high=np.inf)
    # Of both sides: half of what is left to chance, and the 2 of the theorem.
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
