"""Recall on held-out listening, and the value of leading dimensions."""

import numpy as np

from tests.publishing.listening import LISTENERS, listeners_of, vectors_by_taste
from towers.evaluation.from_store import task_from_store
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.vectors import VectorRanker
from towers.publishing.held_out import HeldOutListening, recall_by_dimension


def held_out(store, **settings) -> HeldOutListening:
    return HeldOutListening(store, min_users=5, **settings)


def test_it_is_the_evaluations_own_figure(listening):
    """The figure is of all listeners where there are few."""
    task, vectors = task_from_store(listening, "test"), vectors_by_taste(listening, 0)
    users = listeners_of(listening, task.user_rows, vectors)
    for filter_seen in (False, True):
        judged = held_out(listening, filter_seen=filter_seen)
        assert judged.user_rows.tolist() == task.user_rows.tolist() == list(range(LISTENERS))
        expected = evaluate(task, VectorRanker(task, "all", users, vectors), filter_seen=filter_seen, min_users=5)
        found = judged.evaluate("all", users, vectors).means()
        assert found["recall@20"] == expected.means()["recall@20"]
    assert 0.4 < found["recall@20"] <= 1


def test_of_many_some_are_drawn_the_same_each_time(listening):
    few = held_out(listening, at_most=10)
    assert len(few.user_rows) == 10
    assert few.user_rows.tolist() == held_out(listening, at_most=10).user_rows.tolist()
    assert few.user_rows.tolist() == sorted(few.user_rows.tolist())
    assert few.user_rows.tolist() != held_out(listening, at_most=10, seed=1).user_rows.tolist()


def test_some_of_the_listeners(listening):
    judged, vectors = held_out(listening), vectors_by_taste(listening, 0)
    users = listeners_of(listening, judged.user_rows, vectors)
    everybody = judged.evaluate("all", users, vectors).figures("recall@20")
    some = np.arange(3, 30, 2)
    np.testing.assert_array_equal(
        judged.evaluate("some", users[some], vectors, some).figures("recall@20"), everybody[some]
    )


def test_tastes_that_stand_in_the_first_dimensions_are_found_by_them(listening):
    """They stand in the first 8 of 40 dimensions; the next 8 hold nothing, and all others noise."""
    judged, tastes = held_out(listening), vectors_by_taste(listening, 0)
    users = listeners_of(listening, judged.user_rows, tastes)
    draws = np.random.default_rng(1)
    drowned = [np.pad(one, ((0, 0), (0, 32))) for one in (users, tastes)]
    for vectors in drowned:
        vectors[:, 16:] = draws.normal(size=(len(vectors), 24))
    found = recall_by_dimension(judged, drowned[1], drowned[0])
    assert list(found) == [8, 16, 32, 40]
    assert found[8] == found[16] == judged.evaluate("tastes", users, tastes).means()["recall@20"]
    assert found[16] > 2 * found[32]
    some = np.arange(3, 30, 2)
    expected = judged.evaluate("some", users[some], tastes, some).means()["recall@20"]
    assert recall_by_dimension(judged, drowned[1], drowned[0][some], some)[8] == expected


def test_too_few_listeners_are_no_figure(listening):
    judged = HeldOutListening(listening, min_users=LISTENERS + 1)
    assert recall_by_dimension(judged, vectors_by_taste(listening, 0), np.zeros((LISTENERS, 8), np.float32)) == {}
