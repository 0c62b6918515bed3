"""Lists of different lengths in two flat arrays, so that a million histories can be memory-mapped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Integer


@dataclass(frozen=True, slots=True)
class Ragged:
    """`values[offsets[i]:offsets[i + 1]]` is list `i`.

    Args:
        offsets: `[lists + 1]`, int64, starts at 0 and never falls.
        values: `[total]`, any integer type (content rows, as a rule).
    """

    offsets: Int[np.ndarray, " lists_plus_one"]
    values: Integer[np.ndarray, " total"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """The list at `index`: a view, not a copy."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """`[lists]`, int64."""
        return np.diff(self.offsets)

    @property
    def list_of_value(self) -> np.ndarray:
        """`[total]`, int64: which list each value belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, indices: np.ndarray) -> "Ragged":
        """The lists at `indices`, in that order, as a new `Ragged`."""
        starts = self.offsets[indices]
        # Not of `lengths`, which are those of all lists: a million, where somebody asks for a hundred.
        lengths = self.offsets[np.asarray(indices) + 1] - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        starts = np.repeat(starts - offsets[:-1], lengths)
        return Ragged(offsets, self.values[starts + np.arange(offsets[-1])])

    def where(self, keep: np.ndarray) -> "Ragged":
        """The same lists without the values where `keep` (`[total]`, bool) is false."""
        kept_before = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
        return Ragged(kept_before[self.offsets], self.values[keep])

    def unique(self) -> "Ragged":
        """Every list without its repeats, sorted; values are 0 or more."""
        if not len(self.values):
            return self
        width = int(self.values.max()) + 1
        keys = np.sort(self.list_of_value * width + self.values.astype(np.int64))
        # By hand: np.unique hashes, which takes seventy times as long for ten million keys.
        lists, values = np.divmod(keys[np.concatenate([[True], keys[1:] != keys[:-1]])], width)
        offsets = np.searchsorted(lists, np.arange(len(self) + 1))
        return Ragged(offsets.astype(np.int64), values.astype(self.values.dtype))

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int] | np.ndarray], dtype: type = np.int32) -> "Ragged":
        """Flattens `lists`."""
        arrays = [np.asarray(values, dtype=dtype) for values in lists]
        offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int64)
        return cls(offsets, np.concatenate(arrays) if arrays else np.zeros(0, dtype=dtype))
