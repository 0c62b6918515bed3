"""Stores prepared with each split and with filters have the right days in each period."""

from itertools import pairwise

import numpy as np
import pytest

from tests.data import raw_set
from tests.data.raw_set import at
from towers.contract.durations import DAY_US
from towers.contract.events import microseconds_of
from towers.data.filters.collapse_repeats import CollapseRepeats
from towers.data.filters.k_core import KCore
from towers.data.splits.last_session import LastSession
from towers.data.splits.rolling_windows import RollingWindows
from towers.data.splits.temporal import GlobalTemporal

PLAYED = ("play", 100_000, None)
EVENTS = [("ann", content_id, at(day), *PLAYED) for day in range(20) for content_id in ("a1", "a2")] + [
    ("ben", "a1", at(day, 1), *PLAYED) for day in range(0, 20, 2)
] + [("dee", "a3", at(4), *PLAYED), ("dee", "a3", at(4, 60), *PLAYED), ("dee", "a1", at(19), *PLAYED)]  # fmt: skip
"""Twenty days: ann plays two contents a day, ben one every other day, dee three times in all."""
US = [microseconds_of(at(day)) for day in range(21)]


@pytest.fixture(scope="module")
def prepare(tmp_path_factory, make_builder):
    folder = tmp_path_factory.mktemp("prepared")
    raw_set.write_events(folder / "raw", EVENTS)
    contents = [{"content_id": name, "kind": "track", "duration_ms": 100_000} for name in ("a1", "a2", "a3")]
    raw_set.write_part(folder / "raw", "contents", raw_set.content_table(contents))
    raw_set.write_part(folder / "raw", "users", raw_set.pa.Table.from_pylist(raw_set.USERS))

    def make(**parts):
        return make_builder(folder / "raw", folder / "stores", **parts).build()[0]

    return make


def days_of(store, user_id):
    """Returns the days of a listener's events: in training, in a gap, in validation, in a gap, in the test."""
    histories, row = store.histories, store.user_ids.tolist().index(user_id)
    names = ("offsets", "train_end", "validation_start", "validation_end", "test_start")
    cuts = [int(getattr(histories, name)[row]) for name in names] + [int(histories.offsets[row + 1])]
    days = (np.asarray(histories.timestamp_us) - US[0]) // DAY_US
    return [days[begin:end].tolist() for begin, end in pairwise(cuts)]


def test_a_gap_is_in_no_period(prepare):
    store = prepare(split=GlobalTemporal(str(at(10).date()), str(at(16).date()), gap_days=2.0))
    assert days_of(store, "ben") == [[0, 2, 4, 6], [8], [10, 12], [14], [16, 18]]
    assert store.gap_us == 2 * DAY_US
    training, validation, test = store.periods
    assert [period.positives for period in store.periods] == [16 + 4 + 2, 8 + 2, 8 + 2 + 1]
    assert (validation.days, training.listeners, test.listeners) == (4.0, 3, 3)
    assert store.train_positives.sum() == 16 + 4 + 2
    assert store.trained_until("test").train_positives.sum() == 28 + 7 + 2


def test_what_came_after_a_window_is_left_out(prepare):
    last, earlier = (prepare(split=RollingWindows(windows=3, days=4.0, window=window)) for window in (2, 0))
    assert days_of(last, "ben") == [[0, 2, 4, 6, 8, 10], [], [12, 14], [], [16, 18]]
    assert days_of(earlier, "ben") == [[0, 2], [], [4, 6], [], [8, 10]]
    assert earlier.histories.timestamp_us.max() < US[12] + 2_000_000
    assert earlier.periods[2].days == 4.0
    assert any("data.split left out" in remark for remark in earlier.remarks)
    assert not any("left out" in remark for remark in last.remarks)


def test_the_last_session_is_the_test(prepare):
    store = prepare(split=LastSession())
    assert days_of(store, "ann")[2:] == [[18, 18], [], [19, 19]]
    assert days_of(store, "dee")[0] == [4, 4, 19]  # two sessions alone
    assert store.manifest["validation_start_us"] is None


def test_filters_come_before_what_is_counted(prepare):
    split = GlobalTemporal(str(at(10).date()), str(at(16).date()))
    whole = prepare(split=split)
    repeats_first = prepare(split=split, filters={"repeats": CollapseRepeats(), "core": KCore(2, 2)})
    core_first = prepare(split=split, filters={"core": KCore(2, 2), "repeats": CollapseRepeats()})
    counts = [dict(zip(store.content_ids.tolist(), store.train_positives.tolist(), strict=True))
              for store in (whole, repeats_first, core_first)]  # fmt: skip
    # Of ben's plays of a1 in a row the first of each period stays; dee's two of a3 are one then, and too few.
    assert counts == [{"a1": 15, "a2": 10, "a3": 2}, {"a1": 10, "a2": 10, "a3": 0}, {"a1": 11, "a2": 10, "a3": 1}]
    assert days_of(repeats_first, "dee") == [[]] * 5
    assert days_of(repeats_first, "ben") == [[]] * 5
    assert days_of(core_first, "ben") == [[0], [], [10], [], [16]]
    assert core_first.histories.is_discovery.sum() == 2 + 1 + 2
    assert len({store.fingerprint for store in (whole, repeats_first, core_first)}) == 3
    assert core_first.manifest["filters"]["core"] == {
        "class": "KCore", "min_positives_per_listener": 2, "min_positives_per_content": 2
    }  # fmt: skip
    assert core_first.manifest["counts"]["events"] == len(core_first.histories.action)
