"""Results of an evaluation: metrics per listener and slice, their means, and the lists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.ranking.rankers import Ranked, Ranking

ALL = "all"
"""Slice of all targets, whose keys have no suffix: `recall@20` rather than `recall@20/all`."""


def metric_key(metric: str, slice_name: str) -> str:
    """Returns the key of a metric in a slice: `recall@20` for the slice `all`, `recall@20/discovery` for another."""
    return metric if slice_name == ALL else f"{metric}/{slice_name}"


def split_key(key: str) -> tuple[str, str]:
    """Splits a key into metric and slice, as the inverse of `metric_key`.

    >>> split_key("recall@20/discovery")
    ('recall@20', 'discovery')
    """
    metric, _, slice_name = key.partition("/")
    return metric, slice_name or ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceResult:
    """Metrics of the listeners with a target in one slice.

    Args:
        positions: `[users]`, ascending indices into the `user_rows` of the evaluation.
        values: one value per listener for each metric, such as `recall@20`; NaN where the metric is undefined, which
            metrics of hits never are.
    """

    positions: Int[np.ndarray, " users"]
    values: dict[str, Float[np.ndarray, " users"]]

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The results of one ranker on one task.

    Args:
        ranker: name of the ranker.
        user_rows: store rows of the task's listeners, in its order.
        slices: results by slice; a slice that does not apply is absent, one without listeners is empty.
        min_users: smallest number of listeners for which a slice has a mean; others have only a count.
        lists: first ranks of every listener's lists, in the order of `user_rows`.
        catalogue: metrics of all lists together by key, such as `coverage@20/discovery`.
    """

    ranker: str
    user_rows: Int[np.ndarray, " users"]
    slices: dict[str, SliceResult]
    min_users: int
    lists: Mapping[Ranking, Ranked] = field(default_factory=dict)
    catalogue: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Number of listeners per slice, including slices too small for a mean."""
        return {name: len(result) for name, result in self.slices.items()}

    def means(self) -> dict[str, float]:
        """Returns means over listeners and catalogue metrics by key (`recall@20`, `recall@20/discovery`).

        Slices with too few listeners, and metrics defined for too few of them, are absent.
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
        """Returns each listener's value of the metric `key`, in the order of the slice's `positions`.

        Raises:
            ValueError: the evaluation has no such metric, or it is defined for too few listeners.
        """
        metric, slice_name = split_key(key)
        result = self.slices.get(slice_name)
        if result is None or metric not in result.values or not self._is_enough(result.values[metric]):
            raise ValueError(f"the evaluation of {self.ranker!r} has no figure {key!r}")
        return result.values[metric]

    def _is_enough(self, values: Float[np.ndarray, " users"]) -> bool:
        """Returns whether enough values are defined for a mean: at least `min_users`, and never none."""
        return int(np.count_nonzero(~np.isnan(values))) >= max(self.min_users, 1)
