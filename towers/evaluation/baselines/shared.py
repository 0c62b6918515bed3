"""What fits on the same facts have in common, made once: a matrix, neighbours, factors to begin from."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

T = TypeVar("T")

MAX_BYTES = 1 << 30
"""What is larger is not kept, but made again."""


class Shared:
    """A memory that baselines fitted on the same facts hand on to each other; a baseline asks for it by name.

    Whatever a baseline takes from it is what it would have made itself, with one exception that is made for trials
    alone: a factorisation may begin where the one before it ended (`begun`).

    Args:
        trials: the settings of one baseline that are about to be tried one after the other; none: what is fitted is
            for good.
    """

    def __init__(self, trials: Sequence[Mapping[str, Any]] = ()):
        self._trials = trials
        self._kept: dict[Hashable, Any] = {}
        self._last: dict[Hashable, Any] = {}

    @property
    def is_for_trials(self) -> bool:
        """Whether what is fitted is judged and thrown away."""
        return bool(self._trials)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made under this key, else makes and keeps it."""
        if key not in self._kept:
            made = make()
            if _num_bytes(made) > MAX_BYTES:
                return made
            self._kept[key] = made
        return self._kept[key]

    def nearest(self, key: Hashable, make: Callable[[int], sparse.csr_array], neighbours: int) -> sparse.csr_array:
        """The neighbours that `make` finds, found once for all trials and cut down to those wanted.

        Args:
            key: of whose neighbours they are.
            make: takes how many of each row are wanted; gives rows whose nearest come first.
            neighbours: how many are wanted now.
        """
        most = max([neighbours, *(int(trial.get("neighbours", 0)) for trial in self._trials)])
        return _first(self.once((key, most), lambda: make(most)), neighbours)

    def begun(self, key: Hashable, fit: Callable[[T | None], T]) -> T:
        """A fit that begins, in trials, where the last one under this key ended; `fit` takes that or null."""
        if not self.is_for_trials:
            return fit(None)
        self._last[key] = fit(self._last.get(key))
        return self._last[key]


def _first(rows: sparse.csr_array, count: int) -> sparse.csr_array:
    """The first entries of each row."""
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
