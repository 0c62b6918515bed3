"""Ragged array: lists of different lengths in two flat arrays, so that a million histories can be memory-mapped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Integer


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of integers of different lengths; `values[offsets[i]:offsets[i + 1]]` is list `i`.

    Args:
        offsets: `[lists + 1]`, int64, non-decreasing from 0.
        values: `[total]`, any integer type; usually content rows.
    """

    offsets: Int[np.ndarray, " lists_plus_one"]
    values: Integer[np.ndarray, " total"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns the list at `index` as a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Length of each list, `[lists]`, int64."""
        return np.diff(self.offsets)

    @property
    def list_of_value(self) -> np.ndarray:
        """Index of the list that each value belongs to, `[total]`, int64."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, indices: np.ndarray) -> "Ragged":
        """Returns the lists at `indices`, in that order, as a new `Ragged`."""
        starts = self.offsets[indices]
        # `lengths` would compute the lengths of all lists, of which there may be a million.
        lengths = self.offsets[np.asarray(indices) + 1] - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        starts = np.repeat(starts - offsets[:-1], lengths)
        return Ragged(offsets, self.values[starts + np.arange(offsets[-1])])

    def where(self, keep: np.ndarray) -> "Ragged":
        """Returns the lists without the values for which `keep` (`[total]`, bool) is false."""
        kept_before = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
        return Ragged(kept_before[self.offsets], self.values[keep])

    def unique(self) -> "Ragged":
        """Returns every list sorted and without duplicates; values must be at least 0."""
        if not len(self.values):
            return self
        width = int(self.values.max()) + 1
        keys = np.sort(self.list_of_value * width + self.values.astype(np.int64))
        # np.unique uses hashing, which takes seventy times as long for ten million keys.
        lists, values = np.divmod(keys[np.concatenate([[True], keys[1:] != keys[:-1]])], width)
        offsets = np.searchsorted(lists, np.arange(len(self) + 1))
        return Ragged(offsets.astype(np.int64), values.astype(self.values.dtype))

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int] | np.ndarray], dtype: type = np.int32) -> "Ragged":
        """Builds a ragged array from separate lists."""
        arrays = [np.asarray(values, dtype=dtype) for values in lists]
        offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int64)
        return cls(offsets, np.concatenate(arrays) if arrays else np.zeros(0, dtype=dtype))
