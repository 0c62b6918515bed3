"""Overlap of lists, as fractions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.evaluation.comparison.overlap import jaccard, rank_biased_overlap

LISTS = st.lists(st.permutations(range(7)), min_size=2, max_size=2)


def slow_rank_biased(first: list[int], second: list[int], p: float) -> float:
    """The sum as it is written in the paper."""
    agreements = [len({*first[:d]} & {*second[:d]}) / d for d in range(1, len(first) + 1)]
    total = sum(agreement * p**d for d, agreement in enumerate(agreements, start=1))
    return agreements[-1] * p ** len(first) + (1 - p) / p * total


def one(rows: list[int]) -> np.ndarray:
    return np.array([rows], np.int32)


@pytest.mark.parametrize(
    ("first", "second", "alike", "rank_biased"),
    [
        ([1, 2], [1, 2], 1, 1),
        ([1, 2], [3, 4], 0, 0),
        # Agreement is 0 at depth 1 and 1 at depth 2: 1 * 1/4 + 1 * (0 * 1/2 + 1 * 1/4).
        ([1, 2], [2, 1], 1, 1 / 2),
        # 1 and 1/2: 1/2 * 1/4 + 1 * (1 * 1/2 + 1/2 * 1/4).
        ([1, 2], [1, 3], 1 / 3, 3 / 4),
        # A list of one place, against itself and against a longer one.
        ([1, -1], [1, -1], 1, 1),
        ([1, -1], [1, 2], 1 / 2, 3 / 4),
        ([-1, -1], [1, 2], 0, 0),
    ],
)
def test_fractions_at_a_persistence_of_one_half(first, second, alike, rank_biased):
    for pair in ((one(first), one(second)), (one(second), one(first))):
        np.testing.assert_allclose(jaccard(*pair), [alike])
        np.testing.assert_allclose(rank_biased_overlap(*pair, persistence=0.5), [rank_biased])


def test_nothing_against_nothing_is_not_defined():
    empty = one([-1, -1])
    assert np.isnan(jaccard(empty, empty)).all()
    assert np.isnan(rank_biased_overlap(empty, empty)).all()


@given(LISTS, st.integers(1, 7), st.floats(0.05, 0.95))
def test_as_the_paper_has_it(lists, length, persistence):
    first, second = (rows[:length] for rows in lists)
    found = rank_biased_overlap(one(first), one(second), persistence)
    np.testing.assert_allclose(found, [slow_rank_biased(first, second, persistence)])
    shared = len({*first} & {*second})
    np.testing.assert_allclose(jaccard(one(first), one(second)), [shared / (2 * length - shared)])


def test_listeners_do_not_meet():
    first, second = np.array([[1, 2], [3, 4]]), np.array([[3, 4], [3, 5]])
    np.testing.assert_allclose(jaccard(first, second), [0, 1 / 3])
