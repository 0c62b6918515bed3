"""What an evaluation found: figures per listener and slice, their means, and how sure those are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

ALL = "all"
"""The slice of all targets, whose keys bear no suffix: `recall@20`, beside `recall@20/discovery`."""


def metric_key(metric: str, slice_name: str) -> str:
    """`recall@20` of slice `all`, `recall@20/discovery` of another."""
    return metric if slice_name == ALL else f"{metric}/{slice_name}"


def split_key(key: str) -> tuple[str, str]:
    """Inverse of `metric_key`.

    >>> split_key("recall@20/discovery")
    ('recall@20', 'discovery')
    """
    metric, _, slice_name = key.partition("/")
    return metric, slice_name or ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """The listeners with a target in one slice, and their figures.

    Args:
        positions: `[users]`, ascending, indices into the `user_rows` of the evaluation.
        values: per metric, such as `recall@20`, one figure in [0, 1] per listener.
    """

    positions: Int[np.ndarray, " users"]
    values: dict[str, Float[np.ndarray, " users"]]

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over listeners and the bounds between which it lies with 95 % confidence."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One ranker on one task.

    Args:
        ranker: the name of the ranker.
        user_rows: the listeners of the task, in its order.
        slices: by name; a slice that does not apply is absent, one that nobody falls into is empty.
        min_users: a slice with fewer listeners has no figure, only a count.
    """

    ranker: str
    user_rows: Int[np.ndarray, " users"]
    slices: dict[str, SliceResult]
    min_users: int

    @property
    def counts(self) -> dict[str, int]:
        """Listeners per slice, also of those too small for a figure."""
        return {name: len(result) for name, result in self.slices.items()}

    def means(self) -> dict[str, float]:
        """Mean over listeners by key (`recall@20`, `recall@20/discovery`); slices too small are absent."""
        return {
            metric_key(metric, name): float(values.mean())
            for name, result in self.slices.items()
            if len(result) >= self.min_users
            for metric, values in result.values.items()
        }

    def figures(self, key: str) -> Float[np.ndarray, " users"]:
        """The figure of each listener under `key`, in the order of the slice's `positions`.

        Raises:
            ValueError: the evaluation has no such figure, or its slice is too small for one.
        """
        metric, slice_name = split_key(key)
        result = self.slices.get(slice_name)
        if result is None or metric not in result.values or len(result) < self.min_users:
            raise ValueError(f"the evaluation of {self.ranker!r} has no figure {key!r}")
        return result.values[metric]

    def interval(self, key: str, *, seed: int = 0, resamples: int = 1000) -> Interval:
        """95 % interval of the mean under `key` by the percentile bootstrap over listeners.

        Raises:
            ValueError: see `figures`.
        """
        return _bootstrap(self.figures(key), seed=seed, resamples=resamples)


def paired_difference(
    first: Evaluation, second: Evaluation, key: str, *, seed: int = 0, resamples: int = 1000
) -> Interval:
    """95 % interval of the mean of `first - second` under `key`, both measured on the same listeners.

    Far narrower than what two separate intervals suggest, for easy and hard listeners cancel out.

    Raises:
        ValueError: one of them lacks the figure, or they were not measured on the same listeners.
    """
    _, slice_name = split_key(key)
    firsts, seconds = first.figures(key), second.figures(key)
    first_rows = first.user_rows[first.slices[slice_name].positions]
    second_rows = second.user_rows[second.slices[slice_name].positions]
    if not np.array_equal(first_rows, second_rows):
        raise ValueError(f"{first.ranker!r} and {second.ranker!r} were not evaluated on the same listeners ({key!r})")
    return _bootstrap(firsts - seconds, seed=seed, resamples=resamples)


def _bootstrap(values: Float[np.ndarray, " users"], *, seed: int, resamples: int) -> Interval:
    generator = np.random.default_rng(seed)
    users = len(values)
    # One resample at a time: all at once would take resamples x listeners of memory.
    means = [values[generator.integers(users, size=users, dtype=np.int32)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(mean=float(values.mean()), low=float(low), high=float(high))
