import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from towers.evaluation.ranking.top_k import RunningTopK, top_k


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


@given(
    scores=arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 300)),
        elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]),
    ),
    k=st.integers(1, 5),
    tile_size=st.integers(1, 100),
)
def test_tile_by_tile_is_the_same_as_at_once(scores, k, tile_size):
    running = RunningTopK(len(scores), k)
    for start in range(0, scores.shape[1], tile_size):
        running.add(scores[:, start : start + tile_size], start)
    columns, found = running.best()
    expected = top_k(scores, k)
    np.testing.assert_array_equal(columns[:, : expected.shape[1]], expected)
    np.testing.assert_array_equal(columns[:, expected.shape[1] :], -1)
    np.testing.assert_array_equal(found[columns >= 0], np.take_along_axis(scores, columns, axis=1)[columns >= 0])


def test_scores_that_rise_from_left_to_right():
    scores = np.arange(1000, dtype=np.float32).reshape(1, -1)
    running = RunningTopK(1, 3)
    for start in range(0, 1000, 70):
        running.add(scores[:, start : start + 70], start)
    assert running.best()[0].tolist() == [[999, 998, 997]]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    values=st.sampled_from([2, 30, 100_000]),
    left_out=st.sampled_from([0.0, 0.5, 0.999]),
    k=st.integers(1, 6),
)
def test_of_many_columns_too(seed, values, left_out, k):
    generator = np.random.default_rng(seed)
    scores = generator.integers(values, size=(5, 700)).astype(np.float32)
    scores[generator.random(scores.shape) < left_out] = -np.inf
    test_equals_a_stable_sort_of_everything.hypothesis.inner_test(scores, k)
