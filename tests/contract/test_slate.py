"""A slate holds different contents, each with its chance."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.contract.slate import Slate

CHANCES = st.floats(0, 1, exclude_min=True)


def slate_of(rows, propensities):
    return Slate(
        content_rows=np.array(rows, np.int64)[None], propensities=np.array(propensities, np.float64)[None], shelf="mine"
    )


@given(st.dictionaries(st.integers(0, 2**40), CHANCES))
def test_any_contents_with_any_chance(chances):
    slate = slate_of(list(chances), list(chances.values()))
    assert len(slate) == 1
    assert slate.content_rows.tolist() == [list(chances)]


@given(st.lists(st.integers(0, 9), min_size=1, unique=True), st.data())
def test_no_content_twice(rows, data):
    twice = [*rows, data.draw(st.sampled_from(rows))]
    with pytest.raises(ValueError, match="shown twice"):
        slate_of(twice, [0.5] * len(twice))


@given(
    wrong=st.floats().filter(lambda chance: not 0 < chance <= 1),
    others=st.lists(CHANCES, max_size=4),
    place=st.integers(0, 4),
)
def test_every_propensity_is_a_chance(wrong, others, place):
    propensities = [*others[:place], wrong, *others[place:]]
    with pytest.raises(ValueError, match=f"above 0 and at most 1, got {re.escape(str(np.float64(wrong)))}$"):
        slate_of(range(len(propensities)), propensities)


def test_no_row_below_nothing():
    with pytest.raises(ValueError, match="0 or more, or -1 for nothing, got -2"):
        slate_of([3, -2], [0.5, 0.5])


def test_empty_slots_stand_at_the_end():
    assert slate_of([3, -1, -1], [0.5, 1, 1]).content_rows.tolist() == [[3, -1, -1]]
    with pytest.raises(ValueError, match="a slot is empty, and one behind it is not"):
        slate_of([-1, 3], [1, 0.5])


@pytest.mark.unhooked
def test_as_many_propensities_as_contents():
    with pytest.raises(ValueError, match=r"^content_rows are \[1, 2\] and propensities \[1, 1\]"):
        slate_of([1, 2], [0.5])
