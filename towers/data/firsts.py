"""The first of several equal entries in a flat column, without a loop over entries."""

import numpy as np
from jaxtyping import Bool, Int, Integer

BITS = 63
"""Of an int64 that is not negative."""


def first_places(
    group: Integer[np.ndarray, " entries"], value: Integer[np.ndarray, " entries"]
) -> Int[np.ndarray, " entries"]:
    """`[entries]`, int64: the place of the first entry with the same group and the same value.

    Packed into one integer each, entries are sorted by value and not by place, which is several times as fast.

    >>> first_places(np.array([0, 0, 0, 1]), np.array([7, 8, 7, 7])).tolist()
    [0, 1, 0, 3]

    Args:
        group: 0 or more, for instance the listener.
        value: 0 or more, for instance the content.
    """
    number = len(group)
    places = np.arange(number, dtype=np.int64)
    if not number:
        return places
    for_value, for_place = int(value.max()).bit_length(), (number - 1).bit_length()
    if int(group.max()).bit_length() + for_value + for_place <= BITS:
        packed = (group.astype(np.int64) << (for_value + for_place)) | (value.astype(np.int64) << for_place) | places
        packed.sort()
        order, key = packed & ((1 << for_place) - 1), packed >> for_place
        is_new = np.concatenate([[True], key[1:] != key[:-1]])
    else:
        order = np.lexsort((places, value, group))
        is_new = np.concatenate([[True], (np.diff(group[order]) != 0) | (np.diff(value[order]) != 0)])
    first = np.empty(number, dtype=np.int64)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first


def is_first(
    group: Integer[np.ndarray, " entries"], value: Integer[np.ndarray, " entries"]
) -> Bool[np.ndarray, " entries"]:
    """Whether an entry is the first with its group and value, as `first_places` takes them."""
    return first_places(group, value) == np.arange(len(group))
