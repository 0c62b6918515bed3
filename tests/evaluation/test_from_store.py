"""The hand-written store as an evaluation task, checked listener by listener.

| listener | training | validation | test |
|---|---|---|---|
| ann | **a1**, skip a2, like **a1**, search, **u9**, save **e1**, a1 (short) | **a4**, **a1** | **a2**, dislike a3 |
| ben | browse, **a2**, unsave b1, **a3** | **a1** | |
| dee | | | **a1** |
"""

import numpy as np
import pytest

from towers.evaluation.from_store import all_histories, task_from_store

USERS = ["ann", "ben", "dee", "eve"]
PLAYABLE = ["a1", "a2", "a3", "a4", "a5", "b1", "e1", "u9"]


def ids_of(store, ragged):
    return [store.content_ids[ragged[row]].tolist() for row in range(len(ragged))]


def ids_where(store, flags):
    return store.content_ids[np.asarray(flags)].tolist()


def counts_of(store, counts):
    return {content_id: int(n) for content_id, n in zip(store.content_ids.tolist(), counts, strict=True) if n}


@pytest.fixture(scope="module")
def validation(store):
    return task_from_store(store, "validation")


@pytest.fixture(scope="module")
def test(store):
    return task_from_store(store, "test")


class TestValidation:
    def test_listeners_with_a_positive_event_in_the_period(self, store, validation):
        assert store.user_ids[validation.user_rows].tolist() == ["ann", "ben"]

    def test_targets_are_unique_positives_of_the_period(self, store, validation):
        assert ids_of(store, validation.targets) == [["a1", "a4"], ["a1"]]

    def test_histories_are_positives_before_it_with_repeats(self, store, validation):
        assert ids_of(store, validation.histories) == [["a1", "a1", "u9", "e1"], ["a2", "a3"]]

    def test_nobody_there_is_new(self, validation):
        assert validation.is_cold_user.tolist() == [False, False]


class TestTest:
    def test_listeners_with_a_positive_event_in_the_period(self, store, test):
        assert store.user_ids[test.user_rows].tolist() == ["ann", "dee"]

    def test_targets_leave_out_the_dislike(self, store, test):
        assert ids_of(store, test.targets) == [["a2"], ["a1"]]

    def test_histories_go_up_to_the_second_cut(self, store, test):
        assert ids_of(store, test.histories) == [["a1", "a1", "u9", "e1", "a4", "a1"], []]

    def test_a_listener_without_training_is_new(self, test):
        assert test.is_cold_user.tolist() == [False, True]


@pytest.mark.parametrize("period", ["validation", "test"])
class TestContents:
    def test_candidates_can_be_played(self, store, period):
        assert ids_where(store, task_from_store(store, period).is_candidate) == PLAYABLE

    def test_cold_is_what_had_no_play_in_training(self, store, period):
        """Content e1 was saved and b1 unsaved, but neither was played."""
        cold = ids_where(store, task_from_store(store, period).is_cold)
        assert cold == ["a4", "a5", "art-x", "art-y", "b1", "e1", "p1", "p2"]

    def test_counts_are_of_training_alone(self, store, period):
        counts = counts_of(store, task_from_store(store, period).train_counts)
        assert counts == {"a1": 2, "u9": 1, "e1": 1, "a2": 1, "a3": 1}


def test_all_histories_hold_those_without_a_target_too(store):
    assert ids_of(store, all_histories(store, "validation")) == [["a1", "a1", "u9", "e1"], ["a2", "a3"], [], []]
    expected = [["a1", "a1", "u9", "e1", "a4", "a1"], ["a2", "a3", "a1"], [], []]
    assert ids_of(store, all_histories(store, "test")) == expected


def test_leave_one_out_ranks_one_target_a_listener(world_folder, tmp_path, make_builder):
    from towers.data.splits.leave_one_out import LeaveOneOut

    store, _ = make_builder(world_folder, tmp_path / "stores", split=LeaveOneOut()).build()
    for period in ("validation", "test"):
        task = task_from_store(store, period)
        assert len(task.user_rows)
        assert (task.targets.lengths == 1).all()
    lengths = [task_from_store(store, period).histories.lengths for period in ("validation", "test")]
    np.testing.assert_array_equal(lengths[1], lengths[0] + 1)
