"""Contract of every `Ranker` of inner products: scores that can be read off, and a comparison with a full sort.

All numbers are small and whole, so that products are exact in whatever order they are summed, and many are equal.
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.ranker import make_task
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.rankers import RANKINGS, Ranker
from towers.evaluation.task import EvaluationTask

EVERYTHING, UNSEEN, UNSEEN_COLD = RANKINGS

# One class inherits each test, another runs it; examples that hypothesis keeps of one serve the other.
inherited = settings(suppress_health_check=[HealthCheck.differing_executors])


@st.composite
def cases(draw):
    """Draws the arguments of `made`: vectors of listeners and contents with many duplicates among them, and k."""
    num_users, num_contents, dim = draw(st.integers(1, 5)), draw(st.integers(1, 24)), draw(st.integers(1, 3))
    rows = st.integers(0, num_contents - 1)
    number = st.integers(-2, 2)
    vectors = np.array(draw(st.lists(st.tuples(*[number] * dim), min_size=1, max_size=8)), dtype=np.float32)
    which = draw(st.lists(st.integers(0, len(vectors) - 1), min_size=num_contents, max_size=num_contents))
    users = draw(st.lists(st.tuples(*[number] * dim), min_size=num_users, max_size=num_users))
    histories = draw(st.lists(st.lists(rows, max_size=12), min_size=num_users, max_size=num_users))
    cold, banned = draw(st.sets(rows)), draw(st.sets(rows, max_size=num_contents // 3))
    return (histories, cold, banned), np.array(users, dtype=np.float32), vectors[which], draw(st.integers(1, 30))


def made(case) -> tuple[EvaluationTask, np.ndarray, np.ndarray, int]:
    """Makes the task from its parts. It is not made while drawing, when the type checks may not use random numbers."""
    (histories, cold, banned), users, contents, k = case
    task = make_task(histories, [[0]] * len(users), len(contents), cold=tuple(cold))
    return replace(task, is_candidate=~np.isin(np.arange(len(contents)), list(banned))), users, contents, k


def sorted_lists(task: EvaluationTask, scores: np.ndarray, position: int) -> dict[str, list[int]]:
    """Returns all three lists of one listener in full: the slow twin. Minus infinity is in none."""
    is_listed = task.is_candidate & (scores > -np.inf)
    order = [row for row in np.argsort(-scores, kind="stable").tolist() if is_listed[row]]
    unseen = [row for row in order if row not in task.histories[position]]
    return {EVERYTHING: order, UNSEEN: unseen, UNSEEN_COLD: [row for row in unseen if task.is_cold[row]]}


def products(users: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """Returns all scores; minus infinity for contents without a place in the space, whose vectors are all zeros."""
    return np.where(contents.any(axis=1), users @ contents.T, np.float32(-np.inf))


class FullRankerContract:
    """Inherit, and give `build`: task, name, vectors -> ranker with blocks and tiles of a few rows."""

    @staticmethod
    def build(task: EvaluationTask, name: str, users: np.ndarray, contents: np.ndarray) -> Ranker:
        raise NotImplementedError("whoever inherits gives it")

    # Listener 0 scores the five contents 5, 4, 3, 2, 1; listener 1 the other way round, and has heard nothing.
    USERS: ClassVar = np.array([[1.0], [-1.0]], dtype=np.float32)
    CONTENTS: ClassVar = np.array([[5.0], [4.0], [3.0], [2.0], [1.0]], dtype=np.float32)

    def rank(self, histories, k, *, cold=(), candidates=(0, 1, 2, 3, 4)):
        task = replace(make_task(histories, [[0], [0]], 5, cold=cold), is_candidate=np.isin(np.arange(5), candidates))
        return self.build(task, "toy", self.USERS, self.CONTENTS).rank(np.array([0, 1]), k)

    def test_three_lists_best_first(self):
        ranked = self.rank([[1, 1, 4], []], 2, cold=(2, 4))
        assert ranked[EVERYTHING].rows.tolist() == [[0, 1], [4, 3]]
        assert ranked[UNSEEN].rows.tolist() == [[0, 2], [4, 3]]
        assert ranked[UNSEEN_COLD].rows.tolist() == [[2, -1], [4, 2]]

    def test_scores_are_the_products(self):
        ranked = self.rank([[1], []], 2, cold=(0,))
        assert ranked[EVERYTHING].scores.tolist() == [[5, 4], [-1, -2]]
        assert ranked[UNSEEN].scores.tolist() == [[5, 3], [-1, -2]]
        assert ranked[UNSEEN_COLD].scores.tolist() == [[5], [-5]]

    def test_only_candidates(self):
        ranked = self.rank([[0, 1], []], 5, cold=(0, 3), candidates=(1, 2, 3))
        assert ranked[EVERYTHING].rows.tolist() == [[1, 2, 3, -1, -1], [3, 2, 1, -1, -1]]
        assert ranked[UNSEEN].rows.tolist() == [[2, 3, -1, -1, -1], [3, 2, 1, -1, -1]]
        assert ranked[UNSEEN_COLD].rows.tolist() == [[3], [3]]

    def test_everything_was_heard(self):
        ranked = self.rank([[0, 1, 2, 3, 4], []], 3)
        assert ranked[EVERYTHING].rows[0].tolist() == [0, 1, 2]
        assert ranked[UNSEEN].rows[0].tolist() == [-1, -1, -1]
        assert ranked[UNSEEN].scores[0].tolist() == [-np.inf] * 3

    def test_a_content_of_zeros_stands_in_no_list_and_is_missed(self):
        """Listener 1 scores all others below 0. 1 is cold, 2 was heard; 3 is a target as before."""
        contents = self.CONTENTS.copy()
        contents[[1, 2, 3]] = 0
        task = make_task([[2], [2]], [[0], [3, 4]], 5, cold=(1, 4))
        ranker = self.build(task, "toy", self.USERS, contents)
        ranked = ranker.rank(np.array([0, 1]), 5)
        for ranking in (EVERYTHING, UNSEEN):
            assert ranked[ranking].rows.tolist() == [[0, 4, -1, -1, -1], [4, 0, -1, -1, -1]]
        # There are two cold candidates, so that their list has that length for every ranker.
        assert ranked[UNSEEN_COLD].rows.tolist() == [[4, -1], [4, -1]]
        evaluation = evaluate(task, ranker, filter_seen=True, ks=(2,), min_users=1)
        assert evaluation.figures("recall@2/discovery").tolist() == [1, 1 / 2]

    def test_nobody_to_rank(self):
        ranker = self.build(make_task([[0], []], [[1], [1]], 5), "toy", self.USERS, self.CONTENTS)
        ranked = ranker.rank(np.arange(0), 3)
        assert ranked[EVERYTHING].rows.shape == ranked[UNSEEN].scores.shape == (0, 3)

    def test_no_candidates(self):
        ranked = self.rank([[0], []], 2, candidates=())
        assert ranked[EVERYTHING].rows.tolist() == [[-1, -1], [-1, -1]]
        assert ranked[UNSEEN_COLD].rows.shape == (2, 0)

    def test_any_listeners_in_any_order(self):
        ranker = self.build(make_task([[0], []], [[1], [1]], 5), "toy", self.USERS, self.CONTENTS)
        assert ranker.rank(np.array([1, 0, 1]), 1)[UNSEEN].rows.tolist() == [[4], [1], [4]]

    def test_a_vector_that_is_not_a_number_is_refused(self):
        contents = self.CONTENTS.copy()
        contents[3] = np.nan
        with pytest.raises(ValueError, match=r"'toy'.*not a number"):
            self.build(make_task([[0], []], [[1], [1]], 5), "toy", self.USERS, contents).rank(np.arange(2), 1)

    def test_evaluates(self):
        task = make_task([[0], []], [[1], [4]], 5)
        means = evaluate(
            task, self.build(task, "toy", self.USERS, self.CONTENTS), filter_seen=True, ks=(1,), min_users=1
        ).means()
        assert means["recall@1/discovery"] == 1

    @inherited
    @given(case=cases())
    def test_scores_are_those_of_a_sort_of_everything(self, case):
        task, users, contents, k = made(case)
        ranked = self.build(task, "any", users, contents).rank(np.arange(len(users)), k)
        for position, scores in enumerate(products(users, contents)):
            for ranking, rows in sorted_lists(task, scores, position).items():
                found = ranked[ranking].rows[position]
                filled = found[found >= 0]
                allowed = scores[rows][:k]
                np.testing.assert_array_equal(found[len(filled) :], -1)
                np.testing.assert_array_equal(scores[filled], allowed)
                np.testing.assert_array_equal(ranked[ranking].scores[position, : len(filled)], allowed)
                np.testing.assert_array_equal(ranked[ranking].scores[position, len(filled) :], -np.inf)
                assert len(set(filled)) == len(filled)
                assert set(filled) <= set(rows)
                # Equal scores stand in the order of content rows.
                np.testing.assert_array_equal(np.lexsort((filled, -scores[filled])), np.arange(len(filled)))


class OrderedTiesContract(FullRankerContract):
    """Contract of rankers that take the first content rows of those that tie for the last places."""

    @inherited
    @given(case=cases())
    def test_rows_are_those_of_a_sort_of_everything(self, case):
        task, users, contents, k = made(case)
        ranked = self.build(task, "any", users, contents).rank(np.arange(len(users)), k)
        for position, scores in enumerate(products(users, contents)):
            for ranking, rows in sorted_lists(task, scores, position).items():
                found = ranked[ranking].rows[position]
                assert found.tolist() == [*rows, *[-1] * len(found)][: len(found)]
