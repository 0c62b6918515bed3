"""Bootstrap confidence intervals of means over listeners, paired differences, and corrections for multiple comparisons.

Listeners are drawn with replacement, with the same draws for every metric, so that one listener's values in several
slices stay together. Intervals are percentiles of the resampled means (Efron 1979). For several differences, the
simultaneous bounds come from the largest studentised deviation of each resample (Westfall and Young 1993, single step).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from towers.evaluation.result import Evaluation, split_key

CONFIDENCE = 0.95
RESAMPLES = 1000
_CHUNK_VALUES = 1 << 22
"""Number of weights held in memory at a time: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over listeners and the bounds of its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference, with bounds for itself and simultaneous bounds for its whole family.

    Args:
        mean: mean difference over listeners.
        low: lower 95 % bound of this difference alone.
        high: upper 95 % bound of this difference alone.
        low_of_all: lower simultaneous bound, which holds for the whole family with 95 % confidence.
        high_of_all: upper simultaneous bound.
        p_value: p-value of no difference, corrected for the whole family.
        users: number of listeners compared.
        error: standard error of the mean, which is the standard deviation of the resampled means.
    """

    mean: float
    low: float
    high: float
    low_of_all: float
    high_of_all: float
    p_value: float
    users: int
    error: float

    @property
    def is_clear(self) -> bool:
        """True if the simultaneous bounds exclude zero."""
        return self.low_of_all > 0 or self.high_of_all < 0


def intervals(
    evaluation: Evaluation, keys: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Returns the 95 % interval of the mean under each key; undefined values (NaN) are ignored.

    Raises:
        ValueError: the evaluation has no such metric, or too few listeners for it.
    """
    columns = np.stack([figure_column(evaluation, key) for key in keys], axis=1) if keys else np.zeros((0, 0))
    resampled = resampled_means(columns, seed, resamples)
    bounds = np.quantile(resampled, tails(), axis=0)
    means = _means(columns)
    return {
        key: Interval(mean=float(means[at]), low=float(bounds[0, at]), high=float(bounds[1, at]))
        for at, key in enumerate(keys)
    }


def paired_differences(
    first: Evaluation, second: Evaluation, keys: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Difference]:
    """Returns `first - second` under each key, both measured on the same listeners.

    Paired intervals are far narrower than separate ones, because differences between listeners cancel out.

    Raises:
        ValueError: one of them lacks a metric, or they were not measured on the same listeners.
    """
    return differences_to_each(first, [second], keys, seed=seed, resamples=resamples)[second.ranker]


def differences_to_each(
    first: Evaluation,
    others: Sequence[Evaluation],
    keys: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, dict[str, Difference]]:
    """Returns `first - other` by the other's ranker and key, as one family with simultaneous bounds.

    So the strongest of many baselines may be selected after the fact. `paired_differences` is the case of one other.

    Args:
        first: evaluation to compare.
        others: evaluations on the same listeners, whose rankers have different names.
        keys: metrics that all of them have.
        seed: seed of the draws.
        resamples: number of resamples.

    Raises:
        ValueError: one of them lacks a metric, or they were not measured on the same listeners.
    """
    for other in others:
        for key in keys:
            _check_paired(first, other, key)
    columns = np.zeros((len(first.user_rows), len(others) * len(keys)))
    for at, key in enumerate(keys):
        of_first = figure_column(first, key)
        for place, other in enumerate(others):
            columns[:, place * len(keys) + at] = of_first - figure_column(other, key)
    found = iter(_differences(columns, seed, resamples))
    return {other.ranker: {key: next(found) for key in keys} for other in others}


def figure_column(evaluation: Evaluation, key: str) -> Float[np.ndarray, " users"]:
    """Returns the value of every listener of the evaluation; NaN for those outside of the slice.

    Raises:
        ValueError: the evaluation has no such metric, or too few listeners for it.
    """
    figures = evaluation.figures(key)
    _, slice_name = split_key(key)
    column = np.full(len(evaluation.user_rows), np.nan)
    column[evaluation.slices[slice_name].positions] = figures
    return column


def _differences(columns: Float[np.ndarray, "users comparisons"], seed: int, resamples: int) -> list[Difference]:
    """Returns a difference for each column, with bounds and p-values corrected for all columns."""
    resampled = resampled_means(columns, seed, resamples)
    means, bounds = _means(columns), np.quantile(resampled, tails(), axis=0)
    errors = resampled.std(axis=0)
    # A difference that is the same for every listener has no error, so its bounds are its mean.
    scale = np.where(errors > 0, errors, 1.0)
    largest = np.max(np.abs(resampled - means) / scale, axis=1, initial=0.0)
    half = np.quantile(largest, CONFIDENCE) * errors
    p_values = _p_values(means, errors, largest)
    return [
        Difference(
            mean=float(means[at]),
            low=float(bounds[0, at]),
            high=float(bounds[1, at]),
            low_of_all=float(means[at] - half[at]),
            high_of_all=float(means[at] + half[at]),
            p_value=float(p_values[at]),
            users=int(np.isfinite(columns[:, at]).sum()),
            error=float(errors[at]),
        )
        for at in range(columns.shape[1])
    ]


def _p_values(
    means: Float[np.ndarray, " keys"], errors: Float[np.ndarray, " keys"], largest: Float[np.ndarray, " resamples"]
) -> Float[np.ndarray, " keys"]:
    """Returns the share of resamples whose largest deviation reaches the observed one; never 0, as (1 + n) / (1 + N).

    Without an error, the p-value is 1 for a mean of 0, and otherwise the smallest possible one.
    """
    observed = np.abs(means) / np.where(errors > 0, errors, 1.0)
    passing = (1 + (largest[:, None] >= observed).sum(axis=0)) / (1 + len(largest))
    return np.where(errors > 0, passing, np.where(means == 0, 1.0, 1 / (1 + len(largest))))


def _check_paired(first: Evaluation, second: Evaluation, key: str) -> None:
    _, slice_name = split_key(key)
    for one in (first, second):
        one.figures(key)
    firsts, seconds = (one.user_rows[one.slices[slice_name].positions] for one in (first, second))
    if not np.array_equal(first.user_rows, second.user_rows) or not np.array_equal(firsts, seconds):
        raise ValueError(f"{first.ranker!r} and {second.ranker!r} were not evaluated on the same listeners ({key!r})")


def _means(columns: Float[np.ndarray, "users keys"]) -> Float[np.ndarray, " keys"]:
    present = np.isfinite(columns)
    return np.where(present, columns, 0.0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)


def resampled_means(
    columns: Float[np.ndarray, "users keys"], seed: int, resamples: int
) -> Float[np.ndarray, "resamples keys"]:
    """Returns the mean of each column in each resample, with the same listeners for all columns; NaN is ignored."""
    present = np.isfinite(columns)
    values = np.where(present, columns, 0.0)
    parts = []
    for weights in drawn_listeners(len(columns), seed, resamples):
        counts = weights @ present.astype(np.float64)
        # A resample without any listener of a tiny slice takes the slice's own mean.
        parts.append(np.where(counts > 0, weights @ values / np.maximum(counts, 1), _means(columns)))
    return np.concatenate(parts) if parts else np.zeros((resamples, columns.shape[1]))


def drawn_listeners(users: int, seed: int, resamples: int) -> Iterator[Float[np.ndarray, "resamples users"]]:
    """Yields how often each resample drew each listener, in chunks of resamples that fit into memory.

    The weights of few listeners are cached, because drawing them takes longer than using them.
    """
    step = max(1, _CHUNK_VALUES // max(users, 1))
    if users and 0 < resamples <= step:
        yield _kept_weights(users, seed, resamples)
        return
    generator = np.random.default_rng(seed)
    for start in range(0, resamples if users else 0, step):
        yield _drawn(generator, users, min(step, resamples - start))


@lru_cache(maxsize=2)
def _kept_weights(users: int, seed: int, resamples: int) -> Float[np.ndarray, "resamples users"]:
    weights = _drawn(np.random.default_rng(seed), users, resamples)
    weights.flags.writeable = False
    return weights


def _drawn(generator: np.random.Generator, users: int, resamples: int) -> Float[np.ndarray, "resamples users"]:
    draws = (np.bincount(generator.integers(users, size=users), minlength=users) for _ in range(resamples))
    return np.stack([draw.astype(np.float64) for draw in draws])


def tails() -> tuple[float, float]:
    """Returns the quantiles that bound an interval."""
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def ratio_of_means(
    first: Evaluation, second: Evaluation, key: str, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Returns the ratio of two means under a key, measured on the same listeners; NaN if the second mean is 0.

    Raises:
        ValueError: one of them lacks the metric, or they were not measured on the same listeners.
    """
    _check_paired(first, second, key)
    columns = np.stack([figure_column(first, key), figure_column(second, key)], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        means, resampled = _means(columns), resampled_means(columns, seed, resamples)
        ratios, mean = resampled[:, 0] / resampled[:, 1], means[0] / means[1]
    known = ratios[np.isfinite(ratios)]
    if not np.isfinite(mean) or not len(known):
        return Interval(mean=np.nan, low=np.nan, high=np.nan)
    low, high = np.quantile(known, tails())
    return Interval(mean=float(mean), low=float(low), high=float(high))
