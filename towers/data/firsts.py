"""Finds the first of several equal entries in a flat column, without a loop over entries."""

import numpy as np
from jaxtyping import Bool, Int, Integer

BITS = 63
"""Number of bits that a packed key may use: those of an int64 without its sign."""


def first_places(
    group: Integer[np.ndarray, " entries"], value: Integer[np.ndarray, " entries"]
) -> Int[np.ndarray, " entries"]:
    """`[entries]`, int64: the place of the first entry with the same group and the same value.

    Each entry is packed into one integer with its place; sorting these is several times as fast as an argsort.

    >>> first_places(np.array([0, 0, 0, 1]), np.array([7, 8, 7, 7])).tolist()
    [0, 1, 0, 3]

    Args:
        group: `[entries]`, 0 or more, for instance the listener.
        value: `[entries]`, 0 or more, for instance the content.
    """
    order, is_new = _ordered(group, value)
    first = np.empty(len(group), dtype=np.int64)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first


def is_first(
    group: Integer[np.ndarray, " entries"], value: Integer[np.ndarray, " entries"]
) -> Bool[np.ndarray, " entries"]:
    """`[entries]`, bool: whether an entry is the first with its group and value; arguments as for `first_places`."""
    order, is_new = _ordered(group, value)
    found = np.zeros(len(group), dtype=bool)
    found[order[is_new]] = True
    return found


def _ordered(
    group: Integer[np.ndarray, " entries"], value: Integer[np.ndarray, " entries"]
) -> tuple[Int[np.ndarray, " entries"], Bool[np.ndarray, " entries"]]:
    """Sorts entries by group, value and place; returns the order, and in it which are first with group and value."""
    number = len(group)
    if not number:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    for_value, for_place = int(value.max()).bit_length(), (number - 1).bit_length()
    if int(group.max()).bit_length() + for_value + for_place <= BITS:
        packed = group.astype(np.int64) << (for_value + for_place)
        packed |= value.astype(np.int64) << for_place
        packed |= np.arange(number)
        packed.sort()
        key = packed >> for_place
        return packed & ((1 << for_place) - 1), np.concatenate([[True], key[1:] != key[:-1]])
    order = np.lexsort((np.arange(number), value, group))
    return order, np.concatenate([[True], (np.diff(group[order]) != 0) | (np.diff(value[order]) != 0)])
