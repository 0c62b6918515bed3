import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from towers.evaluation.ranking import top_k


def test_equal_scores_keep_the_order_of_columns():
    scores = np.array([[1.0, 3.0, 1.0, 3.0, 1.0]])
    np.testing.assert_array_equal(top_k(scores, 4), [[1, 3, 0, 2]])


def test_minus_infinity_is_left_out():
    scores = np.array([[-np.inf, 0.5, -np.inf], [-np.inf, -np.inf, -np.inf]])
    np.testing.assert_array_equal(top_k(scores, 2), [[1, -1], [-1, -1]])


def test_nothing_to_rank():
    assert top_k(np.zeros((3, 0)), 5).shape == (3, 0)
    assert top_k(np.zeros((0, 3)), 5).shape == (0, 3)


@given(
    scores=arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 9)),
        elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, np.inf]),
    ),
    k=st.integers(1, 10),
)
def test_equals_a_stable_sort_of_everything(scores, k):
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    expected = np.where(np.take_along_axis(scores, expected, axis=1) > -np.inf, expected, -1)
    np.testing.assert_array_equal(top_k(scores, k), expected)
