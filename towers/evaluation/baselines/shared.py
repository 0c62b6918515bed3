"""Cache of intermediate results that fits on the same data share: a matrix, neighbours, factors."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

T = TypeVar("T")

MAX_BYTES = 1 << 30
"""Capacity of the cache in bytes; results that do not fit are computed again on each use, and nothing is evicted."""


class Shared:
    """A cache that baselines fitted on the same data share; a baseline has it in an argument called `shared`.

    A cached result is always the one that the baseline would have computed itself.

    Args:
        trials: settings of one baseline that are about to be tried one after the other.
    """

    def __init__(self, trials: Sequence[Mapping[str, Any]] = ()):
        self.trials = trials
        self.kept_seconds = 0.0
        """Processor seconds spent on computing the cached results, which a second fit saves."""
        self._kept: dict[Hashable, Any] = {}
        self._refused: set[Hashable] = set()
        self._for_others: set[Hashable] = set()

    def once(self, key: Hashable, make: Callable[[], T], *, for_others: bool = False) -> T:
        """Returns the result cached under a key; computes it if it is missing, and caches it if there is room.

        Args:
            key: name of the result, with everything on which it depends.
            make: function that computes it.
            for_others: whether other baselines use it, too.
        """
        if key in self._kept:
            return self._kept[key]
        began = time.process_time()
        made = make()
        if _num_bytes(made) + sum(map(_num_bytes, self._kept.values())) > MAX_BYTES:
            self._refused.add(key)
            return made
        self._kept[key] = made
        if for_others:
            self._for_others.add(key)
        self.kept_seconds += time.process_time() - began
        return made

    def forget(self) -> None:
        """Drops results that only one baseline uses; call it after that baseline's last fit."""
        self._kept = {key: made for key, made in self._kept.items() if key in self._for_others}
        self._refused.clear()

    def nearest(self, key: Hashable, make: Callable[[int], sparse.csr_array], neighbours: int) -> sparse.csr_array:
        """Returns the neighbours that `make` finds, computed once for all trials and truncated to those requested.

        If the largest number of any trial did not fit into the cache, each trial computes its own.

        Args:
            key: name of the neighbours.
            make: function of the number of neighbours that returns rows with the nearest first.
            neighbours: number of neighbours requested now.
        """
        most = max([neighbours, *(int(trial.get("neighbours", 0)) for trial in self.trials)])
        if (key, most) in self._refused:
            most = neighbours
        return _first(self.once((key, most), lambda: make(most)), neighbours)


def _first(rows: sparse.csr_array, count: int) -> sparse.csr_array:
    """Returns the first `count` entries of each row."""
    lengths = np.diff(rows.indptr)
    if not len(rows.data) or lengths.max() <= count:
        return rows
    kept = np.arange(len(rows.data)) - np.repeat(rows.indptr[:-1], lengths) < count
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, count))])
    return sparse.csr_array((rows.data[kept], rows.indices[kept], offsets), shape=rows.shape)


def _num_bytes(made: Any) -> int:
    if sparse.issparse(made):
        return made.data.nbytes + made.indices.nbytes + made.indptr.nbytes
    if isinstance(made, np.ndarray):
        return made.nbytes
    return sum(map(_num_bytes, made)) if isinstance(made, tuple) else 0
