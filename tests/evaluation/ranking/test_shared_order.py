import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.contracts.full_ranker import cases, made
from tests.contracts.ranker import make_task
from towers.evaluation.ranking import shared_order
from towers.evaluation.ranking.choosing import ranker_of
from towers.evaluation.ranking.products import ProductRanker
from towers.evaluation.ranking.rankers import RANKINGS, DenseRanker
from towers.evaluation.ranking.shared_order import SharedOrder, SparseRanker
from towers.features.ragged import Ragged


class Few:
    """A ranker with scores that all listeners share, and some of each listener's own."""

    name = "few"

    def __init__(self, base, own):
        self.base, self._own = base, own

    def exceptions(self, positions):
        return sparse.csr_array(self._own[positions])

    def scores(self, positions):
        own = self.exceptions(positions)
        scores = np.tile(self.base, (len(positions), 1))
        listener = np.repeat(np.arange(len(positions)), np.diff(own.indptr))
        scores[listener, own.indices] = own.data
        return scores


class Vectors:
    """Products of vectors; some contents have none."""

    name = "vectors"

    def __init__(self, users, contents, is_known):
        self.user_vectors, self.content_vectors, self.is_known = users, contents, is_known

    def scores(self, positions):
        scores = self.user_vectors[positions] @ self.content_vectors.T
        return np.where(self.is_known, scores, scores[:, self.is_known].min(axis=1, initial=0)[:, None] - 1)


@settings(max_examples=40)
@given(case=cases(), seed=st.integers(0, 2**32), share=st.floats(0, 1), block=st.integers(1, 4))
def test_the_lists_are_those_of_all_scores(case, seed, share, block):
    task, users, contents, k = made(case)
    generator = np.random.default_rng(seed)
    base = generator.integers(-2, 3, len(contents)).astype(np.float32)
    base[generator.random(len(base)) < 0.1] = -np.inf
    own = generator.integers(1, 4, (len(users), len(contents))).astype(np.float32) - 2.5
    own[generator.random(own.shape) > share] = 0.0
    scorer = Few(base, sparse.csr_array(own))
    positions = np.arange(len(users))[::-1]
    dense = DenseRanker(task, scorer).rank(positions, k)
    ranker = SparseRanker(task, scorer, block_size=block)
    assert ranker.block_size == block
    found = ranker.rank(positions, k)
    for ranking in RANKINGS:
        np.testing.assert_array_equal(found[ranking].rows, dense[ranking].rows)
        np.testing.assert_array_equal(found[ranking].scores, dense[ranking].scores)


@settings(max_examples=40)
@given(case=cases(), seed=st.integers(0, 2**32), share=st.floats(0, 1))
def test_what_is_not_known_comes_last(case, seed, share):
    task, users, contents, k = made(case)
    scorer = Vectors(users, contents, np.random.default_rng(seed).random(len(contents)) < share)
    positions = np.arange(len(users))
    dense, found = (ranker.rank(positions, k) for ranker in (DenseRanker(task, scorer), ranker_of(task, scorer)))
    for ranking in RANKINGS:
        np.testing.assert_array_equal(found[ranking].rows, dense[ranking].rows)
        is_known = np.append(scorer.is_known, False)[found[ranking].rows]
        assert not (~is_known[:, :-1] & is_known[:, 1:]).any()
        # Unknown contents score below all that come before them.
        assert (np.diff(np.where(found[ranking].rows >= 0, found[ranking].scores, -1e9), axis=1) <= 0).all()


def test_many_exceptions_are_cut_before_they_are_sorted():
    generator = np.random.default_rng(0)
    own = sparse.random_array((6, 500), density=0.8, format="csr", dtype=np.float32, random_state=generator)
    task = make_task([[1, 2], [], [3], [4], [5, 5], [6]], [[0]] * 6, 500, cold=(7, 8, 9))
    scorer = Few(np.zeros(500, np.float32), own)
    dense, found = (ranker.rank(np.arange(6), 10) for ranker in (DenseRanker(task, scorer), SparseRanker(task, scorer)))
    for ranking in RANKINGS:
        np.testing.assert_array_equal(found[ranking].rows, dense[ranking].rows)


@pytest.mark.parametrize(("room", "expected"), [(1, [1, 2, 1, 1]), (3, [1, 3, 1]), (5, [3, 1, 1]), (99, [5])])
def test_parts_of_a_block_hold_no_more_than_there_is_room_for(monkeypatch, room, expected):
    own = sparse.csr_array(np.array([[1, 1, 0, 2], [0, 0, 3, 0], [0, 0, 0, 0], [0, 2, 1, 0], [4, 3, 2, 1]], np.float32))
    task = make_task([[0], [1, 2], [], [3], [0]], [[0]] * 5, 4, cold=(1, 2))
    ranker = SparseRanker(task, Few(np.array([0, 2, 1, 0], np.float32), own))
    whole = ranker.rank(np.arange(5), 3)
    monkeypatch.setattr(shared_order, "BLOCK_BYTES", 90 * room)
    found = ranker.rank(np.arange(5), 3)
    assert [part.stop - part.start for part in shared_order._parts(own.indptr)] == expected
    for ranking in RANKINGS:
        np.testing.assert_array_equal(found[ranking].rows, whole[ranking].rows)
        np.testing.assert_array_equal(found[ranking].scores, whole[ranking].scores)
        assert ranker.rank(np.arange(0), 3)[ranking].rows.shape == (0, found[ranking].rows.shape[1])


def test_each_gets_the_first_that_are_not_left_out():
    order = SharedOrder(np.array([4, 2, 0]), 6)
    left_out = Ragged.from_lists([[], [2, 5], [4, 2], [0, 2, 4]])
    assert order.first(left_out, 4).tolist() == [[4, 2, 0, -1], [4, 0, -1, -1], [0, -1, -1, -1], [-1, -1, -1, -1]]
    assert order.first(left_out, 0).shape == (4, 0)


def test_a_known_content_without_a_vector_is_ranked_by_all_scores():
    task = make_task([[], []], [[0], [0]], 2)
    users, contents = np.ones((2, 1), np.float32), np.array([[0.0], [-1.0]], np.float32)
    assert isinstance(ranker_of(task, Vectors(users, contents, np.array([True, True]))), DenseRanker)
    assert isinstance(ranker_of(task, Vectors(users, contents, np.array([False, True]))), ProductRanker)


@pytest.mark.parametrize(("base", "own"), [([np.nan, 1.0], 1.0), ([0.0, 1.0], np.nan)])
def test_what_is_not_a_number_is_refused(base, own):
    task = make_task([[]], [[0]], 2)
    with pytest.raises(ValueError, match=r"'few'.*not a number"):
        SparseRanker(task, Few(np.array(base), sparse.csr_array(np.array([[0.0, own]])))).rank(np.arange(1), 1)
