"""`Ragged` against plain lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.features.ragged import Ragged

LISTS = st.lists(st.lists(st.integers(0, 50), max_size=6), max_size=6)
DTYPES = st.sampled_from([np.int8, np.int32, np.int64])


def to_lists(ragged: Ragged) -> list[list[int]]:
    return [ragged[index].tolist() for index in range(len(ragged))]


@given(LISTS, DTYPES)
def test_holds_the_lists(lists, dtype):
    ragged = Ragged.from_lists(lists, dtype)
    assert to_lists(ragged) == lists
    assert ragged.values.dtype == dtype
    assert ragged.lengths.tolist() == [len(values) for values in lists]
    assert ragged.list_of_value.tolist() == [index for index, values in enumerate(lists) for _ in values]


@given(st.data(), LISTS.filter(len))
def test_take(data, lists):
    indices = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
    taken = Ragged.from_lists(lists).take(np.array(indices, dtype=np.int64))
    assert to_lists(taken) == [lists[index] for index in indices]


@given(st.data(), LISTS)
def test_where(data, lists):
    kept = [data.draw(st.lists(st.booleans(), min_size=len(v), max_size=len(v))) for v in lists]
    flat = np.array([keep for several in kept for keep in several], dtype=bool)
    expected = [
        [value for value, keep in zip(values, several, strict=True) if keep]
        for values, several in zip(lists, kept, strict=True)
    ]
    assert to_lists(Ragged.from_lists(lists).where(flat)) == expected


@given(LISTS, DTYPES)
def test_unique(lists, dtype):
    unique = Ragged.from_lists(lists, dtype).unique()
    assert to_lists(unique) == [sorted(set(values)) for values in lists]
    assert unique.values.dtype == dtype


def test_a_list_is_a_view():
    ragged = Ragged.from_lists([[1, 2], [3]])
    assert np.shares_memory(ragged[0], ragged.values)


def test_nothing():
    empty = Ragged.from_lists([])
    assert len(empty) == 0
    assert to_lists(empty.unique()) == []
    assert to_lists(Ragged.from_lists([[], []]).unique()) == [[], []]


def test_outside():
    with pytest.raises(IndexError):
        Ragged.from_lists([[1]])[1]
