"""In a store with gaps, no prediction of a period uses events of the gap before it, and none of them is a target."""

import copy
import shutil

import numpy as np
import pytest

from towers.contract.durations import DAY_US
from towers.data.splits.carrying_out import ends_at
from towers.data.splits.split import Cuts, ListenersEvents
from towers.data.store import Store
from towers.errors import UserError
from towers.evaluation.chance_fit import fit_chance
from towers.evaluation.checks.future import baseline_view, future_leak, histories_end, sampled_rows
from towers.evaluation.from_store import all_histories, task_from_store
from towers.evaluation.listening import Listening
from towers.evaluation.profiles import known_of_listeners
from towers.evaluation.slicings import first_listens
from towers.manifest import write_json

GAP_US = 3 * DAY_US


@pytest.fixture(scope="module")
def gapped(world_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The tiny world with three days before each of its cuts in no period."""
    folder = tmp_path_factory.mktemp("gapped") / world_store.folder.name
    shutil.copytree(world_store.folder, folder)
    whole, manifest = world_store.histories, world_store.manifest
    cuts = Cuts(
        validation_start_us=manifest["validation_start_us"], test_start_us=manifest["test_start_us"], gap_us=GAP_US
    )
    events = ListenersEvents(
        offsets=np.asarray(whole.offsets), timestamp_us=np.asarray(whole.timestamp_us),
        is_positive=np.asarray(whole.is_positive), session=np.asarray(whole.session),
    )  # fmt: skip
    ends = ends_at(events, cuts)
    for name in ("train_end", "validation_start", "validation_end", "test_start"):
        np.save(folder / "histories" / f"{name}.npy", getattr(ends, name) + whole.offsets[:-1])
    write_json(folder / "manifest.json", {**manifest, "gap_us": GAP_US})
    return Store(folder)


@pytest.fixture(params=["validation", "test"])
def period(request):
    return request.param


def spell_of(store: Store, period: str) -> tuple[int, int, int]:
    """Returns the times at which the histories of a period end, it begins, and it ends."""
    start = store.manifest[f"{period}_start_us"]
    end = store.manifest["test_start_us"] - GAP_US if period == "validation" else np.iinfo(np.int64).max
    return start - GAP_US, start, end


def chosen(store: Store, user: int, begin_us: int, end_us: int) -> list[int]:
    events = slice(store.histories.offsets[user], store.histories.offsets[user + 1])
    times, rows = store.histories.timestamp_us[events], store.histories.content_row[events]
    is_in = (times >= begin_us) & (times < end_us) & store.histories.is_positive[events]
    return rows[is_in].tolist()


def test_targets_and_histories_are_those_of_the_clock(gapped, period):
    known_until, start, end = spell_of(gapped, period)
    task, everything = task_from_store(gapped, period), all_histories(gapped, period)
    for user in range(gapped.histories.num_users):
        targets = sorted(set(chosen(gapped, user, start, end)))
        assert (user in task.user_rows) == bool(targets)
        assert everything[user].tolist() == chosen(gapped, user, 0, known_until)
        if targets:
            place = int(np.searchsorted(task.user_rows, user))
            assert task.targets[place].tolist() == targets
            assert task.histories[place].tolist() == chosen(gapped, user, 0, known_until)


def test_there_is_something_in_the_gaps(gapped):
    histories = gapped.histories
    assert (histories.validation_start > histories.train_end).any()
    assert (histories.test_start > histories.validation_end).any()


def test_the_checks_see_no_future(gapped, world_store, period):
    task = task_from_store(gapped, period)
    view = baseline_view(period, sampled_rows(task, size=5))
    assert future_leak(gapped, period, {"baselines": view}).passed
    assert histories_end(gapped, task, period).passed


def test_the_checks_catch_who_reads_the_gap(gapped, period):
    def to_the_period(store: Store) -> np.ndarray:
        begin, _ = store.histories.period(period)
        return np.asarray(store.histories.timestamp_us)[np.maximum(np.asarray(begin) - 1, 0)]

    assert future_leak(gapped, period, {"reads the gap": to_the_period}).passed is False
    without = copy.copy(gapped)
    without.manifest = {**gapped.manifest, "gap_us": 0}
    assert histories_end(without, task_from_store(gapped, period), period).passed is False


def test_first_listens_are_in_the_period(gapped, period):
    _, start, end = spell_of(gapped, period)
    times = gapped.histories.timestamp_us[first_listens(gapped, task_from_store(gapped, period), period).events]
    assert ((times >= start) & (times < end)).all()


def test_days_since_the_last_event_count_the_gap(gapped, period):
    known_until, start, _ = spell_of(gapped, period)
    task = task_from_store(gapped, period)
    days = known_of_listeners(gapped, task, period)["days_since_last_event"].drop_null().to_numpy()
    assert len(days)
    assert (days >= (start - known_until) / DAY_US).all()


def test_the_chance_of_a_listen_is_fitted_on_what_came_after_the_gap(gapped):
    _, start, end = spell_of(gapped, "validation")
    found = Listening(gapped, "validation").chosen_within(days=5.0, events=9)
    for user in range(gapped.histories.num_users):
        assert found[user].tolist() == sorted(set(chosen(gapped, user, start, min(end, start + 5 * DAY_US))))
    vectors = np.ones((len(gapped.content_ids), 1), np.float32)
    model = fit_chance(gapped, vectors, lambda rows: np.ones((len(rows), 1), np.float32))
    assert model.window == {"days": 7.0}  # ten, less the gap


def test_training_until_the_test_ends_where_validation_does(gapped):
    trained, until = gapped.trained_until("test"), spell_of(gapped, "test")[0]
    assert trained.histories.train_end.tolist() == gapped.histories.validation_end.tolist()
    expected = np.zeros(len(gapped.content_ids), np.int64)
    for user in range(gapped.histories.num_users):
        np.add.at(expected, chosen(gapped, user, 0, until), 1)
    assert trained.train_positives.tolist() == expected.tolist()
    assert not len(task_from_store(trained, "validation").user_rows)


def test_a_store_is_cut_after_training_alone(gapped):
    until, _, end = spell_of(gapped, "validation")
    cut = gapped.until(until)
    assert cut.histories.offsets[1:].tolist() == cut.histories.train_end.tolist()
    with pytest.raises(UserError, match="as_of="):
        gapped.until(until - 1)
    earlier = gapped.until(end - DAY_US)
    assert earlier.manifest["test_start_us"] - earlier.gap_us == end - DAY_US
    assert task_from_store(earlier, "validation").targets.values.size
    assert not task_from_store(earlier, "test").targets.values.size
    in_the_gap = gapped.until(end + DAY_US)
    assert in_the_gap.manifest["test_start_us"] == gapped.manifest["test_start_us"]
