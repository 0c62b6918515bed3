"""What fits on the same facts have in common, made once: a matrix, neighbours, factors."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

T = TypeVar("T")

MAX_BYTES = 1 << 30
"""What is kept in all; what no longer fits is made again wherever it is wanted, so that the first stay of use."""


class Shared:
    """A memory that baselines fitted on the same facts hand on to each other; a baseline asks for it by name.

    Whatever a baseline takes from it is what it would have made itself.

    Args:
        trials: the settings of one baseline that are about to be tried one after the other.
    """

    def __init__(self, trials: Sequence[Mapping[str, Any]] = ()):
        self.trials = trials
        self.kept_seconds = 0.0
        """Seconds of a processor that the making of whatever was kept has taken: a second fit is spared them."""
        self._kept: dict[Hashable, Any] = {}
        self._refused: set[Hashable] = set()
        self._for_others: set[Hashable] = set()

    def once(self, key: Hashable, make: Callable[[], T], *, for_others: bool = False) -> T:
        """What was made under this key, else makes it, and keeps it as long as there is room.

        Args:
            key: what it is, and all that it depends on.
            make: makes it.
            for_others: another baseline takes it, too.
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
        """Drops what serves one baseline alone, when that has been fitted for the last time."""
        self._kept = {key: made for key, made in self._kept.items() if key in self._for_others}
        self._refused.clear()

    def nearest(self, key: Hashable, make: Callable[[int], sparse.csr_array], neighbours: int) -> sparse.csr_array:
        """The neighbours that `make` finds, found once for all trials and cut down to those wanted.

        Where there was no room for the most that a trial wants, each trial finds its own number.

        Args:
            key: of whose neighbours they are.
            make: takes how many of each row are wanted; gives rows whose nearest come first.
            neighbours: how many are wanted now.
        """
        most = max([neighbours, *(int(trial.get("neighbours", 0)) for trial in self.trials)])
        if (key, most) in self._refused:
            most = neighbours
        return _first(self.once((key, most), lambda: make(most)), neighbours)


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
