"""How sure means over listeners are: bootstrap intervals, paired differences, and corrections for many of them.

Listeners are drawn with replacement, the same draws for every figure, so that figures of one listener in several
slices go together. Intervals are percentiles of the resampled means (Efron 1979). Where many differences are looked at
together, the bounds that hold for all of them at once come from the largest studentised deviation of each resample
(Westfall and Young 1993, single step).
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
"""Weights that are held at a time: 32 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over listeners and the bounds between which it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference, alone and as one of many.

    Args:
        mean: over listeners.
        low: lower 95 % bound of this difference alone.
        high: the upper one.
        low_of_all: lower bound that holds for all differences asked for together, with 95 % confidence.
        high_of_all: the upper one.
        p_value: of no difference, corrected for all differences asked for together.
        users: the listeners behind it.
        error: standard error of the mean: standard deviation of the resampled means.
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
        """Whether the bounds that hold for all differences leave out zero."""
        return self.low_of_all > 0 or self.high_of_all < 0


def intervals(
    evaluation: Evaluation, keys: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """The 95 % interval of the mean under each key; a listener whose figure is not defined (NaN) is left out of it.

    Raises:
        ValueError: the evaluation has no such figure, or its slice is too small for one.
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
    """`first - second` under each key, both measured on the same listeners.

    Far narrower than what two separate intervals suggest, for easy and hard listeners cancel out.

    Raises:
        ValueError: one of them lacks a figure, or they were not measured on the same listeners.
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
    """`first - other` by the other's ranker and key: one family of comparisons, whose corrected bounds hold together.

    So the strongest of many baselines may be picked after looking. `paired_differences` is the case of one other.

    Args:
        first: what is compared.
        others: measured on the same listeners; their rankers bear different names.
        keys: figures that all of them have.
        seed: of the draws.
        resamples: how many.

    Raises:
        ValueError: one of them lacks a figure, or they were not measured on the same listeners.
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
    """The figure of every listener of the evaluation, NaN for those outside of the slice.

    Raises:
        ValueError: the evaluation has no such figure, or its slice is too small for one.
    """
    figures = evaluation.figures(key)
    _, slice_name = split_key(key)
    column = np.full(len(evaluation.user_rows), np.nan)
    column[evaluation.slices[slice_name].positions] = figures
    return column


def _differences(columns: Float[np.ndarray, "users comparisons"], seed: int, resamples: int) -> list[Difference]:
    """One a column, corrected for all columns."""
    resampled = resampled_means(columns, seed, resamples)
    means, bounds = _means(columns), np.quantile(resampled, tails(), axis=0)
    errors = resampled.std(axis=0)
    # A difference that is the same for every listener has no error; it then stands or falls by itself.
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
    """Share of the resamples whose largest deviation passes the one observed; never 0 of finitely many."""
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
    """The mean of each column in each resample, the same listeners for all columns; NaN is left out of a mean."""
    present = np.isfinite(columns)
    values = np.where(present, columns, 0.0)
    parts = []
    for weights in drawn_listeners(len(columns), seed, resamples):
        counts = weights @ present.astype(np.float64)
        # A resample that misses a tiny slice altogether says nothing of it.
        parts.append(np.where(counts > 0, weights @ values / np.maximum(counts, 1), _means(columns)))
    return np.concatenate(parts) if parts else np.zeros((resamples, columns.shape[1]))


def drawn_listeners(users: int, seed: int, resamples: int) -> Iterator[Float[np.ndarray, "resamples users"]]:
    """How often each resample drew each listener, some resamples at a time: all would fill the memory.

    Those of few listeners are kept, as drawing them takes longer than all that is made of them.
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
    """The quantiles that bound an interval."""
    return (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2


def ratio_of_means(
    first: Evaluation, second: Evaluation, key: str, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """The mean of one over that of another under a key, measured on the same listeners; NaN where the second is 0.

    Raises:
        ValueError: as `paired_differences`.
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
