"""Subjects and tasks that read the future are caught, on the small world; honest ones are not."""

from dataclasses import replace

import numpy as np
import pytest

from towers.contract.durations import DAY_US
from towers.contract.provenance import Provenance
from towers.evaluation.checks.future import (
    baseline_view,
    future_leak,
    histories_end,
    sampled_rows,
    trained_before,
    with_other_events,
)
from towers.evaluation.from_store import task_from_store
from towers.features.ragged import Ragged

PERIODS = ("validation", "test")


@pytest.fixture(params=PERIODS)
def period(request):
    return request.param


@pytest.fixture
def task(world_store, period):
    return task_from_store(world_store, period)


def plays_until(which: str):
    """Returns a subject whose listener vectors are the counts of each content up to an end."""

    def view(store):
        histories = store.histories
        ends = {"validation": histories.train_end, "test": histories.test_start, "end": histories.offsets[1:]}
        vectors = np.zeros((histories.num_users, len(store.content_ids)), np.float32)
        for user in range(histories.num_users):
            rows = histories.content_row[histories.offsets[user] : ends[which][user]]
            np.add.at(vectors[user], rows[rows >= 0], 1)
        return vectors

    return view


class TestLeak:
    def test_who_reads_up_to_the_period_passes(self, world_store, task, period):
        views = {
            "plays": plays_until(period),
            "baselines": baseline_view(period, sampled_rows(task, size=5)),
        }
        check = future_leak(world_store, period, views)
        assert check.passed, check.detail
        assert check.figures["replaced_events"] > 10

    def test_who_reads_to_the_end_is_caught(self, world_store, period):
        honest, leaking = plays_until(period), plays_until("end")
        check = future_leak(world_store, period, {"honest": honest, "leaking": leaking})
        assert check.passed is False
        assert check.figures["leaking_views"] == 1
        assert "honest" not in check.detail

    def test_who_reads_one_event_too_many_is_caught(self, world_store, period):
        def next_time(store):
            histories = store.histories
            ends = np.asarray(histories.train_end if period == "validation" else histories.test_start)
            return histories.timestamp_us[np.minimum(ends, len(histories.timestamp_us) - 1)]

        assert future_leak(world_store, period, {"time to come": next_time}).passed is False

    def test_a_view_of_another_store_is_not_judged(self, world_store, period):
        check = future_leak(world_store, period, {"deaf": lambda store: plays_until(period)(world_store)})
        assert check.passed is None
        assert "deaf" in check.detail

    def test_counts_of_the_whole_data_are_caught(self, world_store, period):
        def counts(store):
            rows = store.histories.content_row[store.histories.is_positive]
            return np.bincount(rows, minlength=len(store.content_ids))

        assert future_leak(world_store, period, {"popularity of all times": counts}).passed is False

    def test_a_view_that_changes_its_shape_is_caught(self, world_store, period):
        def heard(store):
            return np.unique(store.histories.content_row[store.histories.played_fraction > 0.5])

        assert future_leak(world_store, period, {"heard": heard}).passed is False


def test_every_replaced_event_is_another_and_the_rest_stay(world_store):
    histories = world_store.histories
    is_replaced = np.random.default_rng(0).random(len(histories.content_row)) < 0.3
    other = with_other_events(world_store, is_replaced, 30, seed=1)
    for name in ("content_row", "action", "timestamp_us", "is_discovery"):
        before, after = np.asarray(getattr(histories, name)), getattr(other.histories, name)
        assert (before[is_replaced] != after[is_replaced]).all(), name
        np.testing.assert_array_equal(before[~is_replaced], after[~is_replaced])
        assert after.dtype == before.dtype
    assert world_store.histories is histories
    assert other.histories.content_row.max() < len(world_store.content_ids)


class TestTrainedBefore:
    @pytest.fixture
    def start_us(self, world_store, period):
        return world_store.manifest[f"{period}_start_us"]

    def test_on_this_store_it_was(self, world_store, period):
        assert trained_before(world_store, period, Provenance(trained_on=world_store.fingerprint)).passed

    @pytest.mark.parametrize(("later_us", "passed"), [(-DAY_US, True), (0, True), (1, False), (DAY_US, False)])
    def test_on_another_it_must_have_ended(self, world_store, period, start_us, later_us, passed):
        provenance = Provenance(trained_on="another", trained_until_us=start_us + later_us)
        check = trained_before(world_store, period, provenance)
        assert check.passed is passed
        assert check.figures["days_between"] == -later_us / DAY_US

    def test_the_test_period_may_be_new_where_validation_is_not(self, world_store):
        until = world_store.manifest["test_start_us"]
        assert trained_before(world_store, "test", Provenance(trained_until_us=until)).passed
        assert trained_before(world_store, "validation", Provenance(trained_until_us=until)).passed is False

    def test_who_does_not_say_is_not_judged(self, world_store, period):
        check = trained_before(world_store, period, Provenance())
        assert check.passed is None
        assert "when training ended is not known" in check.detail


class TestHistoriesEnd:
    def test_the_task_of_the_store_passes(self, world_store, task, period):
        check = histories_end(world_store, task, period)
        assert check.passed, check.detail
        assert check.figures == {"misplaced_events": 0, "unordered_events": 0, "wrong_listeners": 0}

    def test_a_history_with_a_target_is_caught(self, world_store, task, period):
        lists = [task.histories[place] for place in range(len(task.histories))]
        lists[1] = np.append(lists[1], task.targets[1][:1])
        check = histories_end(world_store, replace(task, histories=Ragged.from_lists(lists)), period)
        assert check.passed is False
        assert check.figures["wrong_listeners"] == 1

    def test_a_cut_one_event_late_is_caught(self, world_store, period):
        name = "train_end" if period == "validation" else "validation_end"
        late = with_other_events(world_store, np.zeros(len(world_store.histories.content_row), bool), 0, seed=0)
        ends = np.array(getattr(late.histories, name))
        ends[ends < late.histories.offsets[1:]] += 1
        late.histories = replace(late.histories, **{name: ends})
        check = histories_end(late, task_from_store(late, period), period)
        assert check.passed is False
        assert check.figures["misplaced_events"] > 0

    def test_events_out_of_order_are_caught(self, world_store, task, period):
        mixed = with_other_events(world_store, np.zeros(len(world_store.histories.content_row), bool), 0, seed=0)
        times = np.array(mixed.histories.timestamp_us)
        first = int(mixed.histories.offsets[3])
        times[[first, first + 1]] = times[[first + 1, first]] - [0, 1]
        mixed.histories = replace(mixed.histories, timestamp_us=times)
        check = histories_end(mixed, task, period)
        assert check.passed is False
        assert check.figures["unordered_events"] == 1


def test_leave_one_out_has_a_cut_for_everybody(world_folder, tmp_path, make_builder, period):
    from towers.data.splits.leave_one_out import LeaveOneOut

    store, _ = make_builder(world_folder, tmp_path / "stores", split=LeaveOneOut()).build()
    check = trained_before(store, period, Provenance(trained_on="another", trained_until_us=0))
    assert check.passed is None
    assert f"when {period} begins is not known" in check.detail
    task = task_from_store(store, period)
    assert histories_end(store, task, period).passed
    views = {"plays": plays_until(period), "baselines": baseline_view(period, task.user_rows[:5])}
    assert future_leak(store, period, views).passed
    assert future_leak(store, period, {"plays": plays_until("end")}).passed is False
