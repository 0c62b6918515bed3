"""What an evaluation found: figures per listener and slice, their means, and the lists themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.ranking.rankers import Ranked, Ranking

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
        values: per metric, such as `recall@20`, one figure per listener; NaN where a metric is not defined for one
            (never the case for the metrics of hits).
    """

    positions: Int[np.ndarray, " users"]
    values: dict[str, Float[np.ndarray, " users"]]

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One ranker on one task.

    Args:
        ranker: the name of the ranker.
        user_rows: the listeners of the task, in its order.
        slices: by name; a slice that does not apply is absent, one that nobody falls into is empty.
        min_users: a slice with fewer listeners has no figure, only a count.
        lists: the head of every listener's lists, in the order of `user_rows`.
        catalogue: figures of all lists together by key, such as `coverage@20/discovery`.
    """

    ranker: str
    user_rows: Int[np.ndarray, " users"]
    slices: dict[str, SliceResult]
    min_users: int
    lists: Mapping[Ranking, Ranked] = field(default_factory=dict)
    catalogue: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Listeners per slice, also of those too small for a figure."""
        return {name: len(result) for name, result in self.slices.items()}

    def means(self) -> dict[str, float]:
        """Figure by key (`recall@20`, `recall@20/discovery`): means over listeners, and those of the catalogue.

        Absent are slices too small, and metrics that are defined for too few of their listeners.
        """
        return dict(self._means)

    @cached_property
    def _means(self) -> dict[str, float]:
        found = {
            metric_key(metric, name): float(np.nanmean(values))
            for name, result in self.slices.items()
            for metric, values in result.values.items()
            if self._is_enough(values)
        }
        large = {name for name, count in self.counts.items() if count >= self.min_users}
        return found | {key: figure for key, figure in self.catalogue.items() if split_key(key)[1] in large}

    def figures(self, key: str) -> Float[np.ndarray, " users"]:
        """The figure of each listener under `key`, in the order of the slice's `positions`.

        Raises:
            ValueError: the evaluation has no such figure, or it is defined for too few listeners.
        """
        metric, slice_name = split_key(key)
        result = self.slices.get(slice_name)
        if result is None or metric not in result.values or not self._is_enough(result.values[metric]):
            raise ValueError(f"the evaluation of {self.ranker!r} has no figure {key!r}")
        return result.values[metric]

    def _is_enough(self, values: Float[np.ndarray, " users"]) -> bool:
        """Nobody's mean is no figure, even where `min_users` is 0."""
        return int(np.count_nonzero(~np.isnan(values))) >= max(self.min_users, 1)
