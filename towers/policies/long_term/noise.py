"""Spread of listeners around the mean outcome of their content, and a first estimate of how contents differ, from
outcomes of which many are known only in part."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import sparse

from towers.policies.long_term.outcomes import DelayedOutcomes

GUESSED_PAIRS = 20.0
"""Number of discoveries that the guess counts as: days that are independent and vary like the average day."""
LEAST_VARIANCE = 1e-4
"""Least variance of an average day, for data in which all listeners of a content did the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Moments of outcomes; each day's are over the outcomes for which the day is over.

    Args:
        whitening: `W` of a `ReturnModel`.
        mean: mean over outcomes.
        between: unbiased covariance of contents' mean outcomes; symmetric, and may have negative eigenvalues.
    """

    whitening: Float[np.ndarray, "days days"]
    mean: Float[np.ndarray, " days"]
    between: Float[np.ndarray, "days days"]


def moments_of(outcomes: DelayedOutcomes) -> Moments:
    """Returns the moments of outcomes.

    If a day is over for an outcome, so are all days before it, so the likelihood splits into regressions of each day on
    the days before (Little and Rubin, "Statistical Analysis with Missing Data", monotone patterns). Each is fitted
    within contents and with a ridge, and gives a row of `W`: the covariance is positive definite whichever days are
    missing.

    Args:
        outcomes: outcomes in which every day is over for some, and at least one listener came back.
    """
    days = outcomes.days
    content = np.unique(outcomes.content, return_inverse=True)[1]
    order = np.argsort(-outcomes.observed, kind="stable")
    known = np.searchsorted(-outcomes.observed[order], -np.arange(days + 2), side="right")
    shape = days, int(content.max(initial=-1)) + 1
    whole, sums, number = np.zeros((days, days)), np.zeros(shape[::-1]), np.zeros(shape[1])
    within, between, mean = [], np.zeros((days, days)), np.zeros(days)
    for day in range(days, 0, -1):
        new = order[known[day + 1] : known[day]]
        told = outcomes.returned[new].astype(np.float64)
        whole += told.T @ told
        sums += sparse.csr_array((np.ones(len(new)), (content[new], np.arange(len(new)))), (shape[1], len(new))) @ told
        number += np.bincount(content[new], minlength=shape[1])
        weight = 1 / np.maximum(number, 1)
        of_means = (weight[:, None] * sums[:, :day]).T @ sums[:, :day]
        within.append((whole[:day, :day] - of_means, number.sum() - np.count_nonzero(number)))
        means = sums[:, :day].sum(axis=0) / number.sum()
        came = order[: known[day]]
        came = came[outcomes.returned[came, day - 1]]
        # Products of two listeners of one content, of which a content with n listeners has n (n - 1), weighted by 1 /
        # n:
        # what the two have in common is due to the content.
        products = of_means[-1] - weight[content[came]] @ outcomes.returned[came, :day]
        covariance = products / max(float(np.maximum(number - 1, 0).sum()), 1.0) - means[-1] * means
        between[day - 1, :day] = between[:day, day - 1] = covariance
        mean[day - 1] = means[-1]
    return Moments(whitening=_whitening(within[::-1]), mean=mean, between=between)


def _whitening(within: list[tuple[np.ndarray, float]]) -> Float[np.ndarray, "days days"]:
    """Returns `W`, from the sums of squares and products within contents of each day with those before it, and their
    degrees of freedom."""
    days = len(within)
    squares = sum(products[-1, -1] for products, _ in within)
    variance = max(squares / max(sum(freedom for _, freedom in within), 1.0), LEAST_VARIANCE)
    found = np.zeros((days, days))
    for day, (products, freedom) in enumerate(within):
        before, with_it = products[:day, :day], products[:day, day]
        slopes = np.linalg.solve(before + GUESSED_PAIRS * variance * np.eye(day), with_it)
        left = products[day, day] - slopes @ (2 * with_it - before @ slopes)
        left += GUESSED_PAIRS * variance * (1 + slopes @ slopes)
        found[day, : day + 1] = np.append(-slopes, 1.0) / np.sqrt(left / (freedom + GUESSED_PAIRS))
    return found
