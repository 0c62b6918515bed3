"""A store as it was at a time: later events are gone, and so is all that follows from them."""

import copy

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data import raw_set
from tests.data.raw_set import EVENTS, TEST_START, VALIDATION_START, at
from tests.data.read_back import FORGOTTEN, members_of, row_of
from towers.contract.events import microseconds_of
from towers.data.histories import HISTORY_COLUMNS, PLACES
from towers.data.splits.leave_one_out import LeaveOneOut
from towers.errors import UserError
from towers.evaluation.from_store import task_from_store
from towers.evaluation.listening import Listening

PLAYLISTS = [
    {"playlist_id": "before", "created": at(29), "content_ids": ["a2", "a1"]},
    {"playlist_id": "unknown", "created": None, "content_ids": ["a3"]},
    {"playlist_id": "then", "created": TEST_START, "content_ids": ["a1"]},
    {"playlist_id": "after", "created": at(32), "content_ids": ["a3", "a2"]},
]


@pytest.fixture(scope="module")
def dated(tmp_path_factory, make_builder):
    """The hand-written events with sessions, devices, and playlists of several dates."""
    folder = tmp_path_factory.mktemp("dated")
    events = raw_set.event_table(EVENTS)
    for name, period in (("session_id", 3), ("device", 2)):
        texts = pa.array([f"{name} {place // period}" for place in range(len(events))])
        events = events.append_column(name, texts)
    raw_set.write_part(folder / "raw", "events", events)
    raw_set.write_part(folder / "raw", "contents", raw_set.content_table(raw_set.CONTENTS).drop_columns("audio"))
    raw_set.write_part(folder / "raw", "users", pa.Table.from_pylist(raw_set.USERS))
    raw_set.write_part(folder / "raw", "playlists", pa.Table.from_pylist(PLAYLISTS))
    return make_builder(folder / "raw", folder / "stores").build()[0]


def us(time):
    return microseconds_of(time)


@given(
    as_of_us=st.one_of(
        st.integers(us(VALIDATION_START), us(at(60))),
        st.builds(lambda event, off: max(us(event[2]) + off, us(VALIDATION_START)), st.sampled_from(EVENTS),
                  st.integers(-1, 1)),
    )
)  # fmt: skip
def test_each_listener_has_exactly_the_events_of_before_in_their_order(dated, as_of_us):
    whole, cut = dated.histories, dated.until(as_of_us).histories
    assert cut.num_users == whole.num_users
    for user in range(whole.num_users):
        places = range(whole.offsets[user], whole.offsets[user + 1])
        kept = [place for place in places if whole.timestamp_us[place] < as_of_us]
        own = slice(cut.offsets[user], cut.offsets[user + 1])
        for name in HISTORY_COLUMNS:
            np.testing.assert_array_equal(getattr(cut, name)[own], getattr(whole, name)[kept])
        for name in PLACES[1:]:
            before = [place for place in kept if place < getattr(whole, name)[user]]
            assert getattr(cut, name)[user] - cut.offsets[user] == len(before)
    assert cut.offsets[-1] == len(cut.action)


def test_later_playlists_are_gone_and_so_are_their_contents(dated):
    cut = dated.until(us(TEST_START))
    assert cut.playlists["content_row"].to_pylist() == [row_of(dated, "before"), row_of(dated, "unknown")]
    assert {name: members_of(cut, name) for name in ("before", "unknown", "then", "after")} == {
        "before": ["a1", "a2"], "unknown": ["a3"], "then": [], "after": []
    }  # fmt: skip
    assert members_of(cut, "art-x") == ["a1", "a2"]
    assert dated.until(us(TEST_START) + 1).playlists["content_row"].to_pylist()[-2:] == [
        row_of(dated, "then"), row_of(dated, "unknown")
    ]  # fmt: skip


def test_the_end_is_that_time_whatever_came_last(dated):
    cut, later = dated.until(us(TEST_START)), dated.until(us(at(60)))
    assert Listening(cut, "end").now_us == us(TEST_START) == cut.end_us
    assert Listening(later, "end").now_us == us(at(60)) == later.end_us
    assert Listening(dated, "end").now_us == us(DEE_LAST) == dated.end_us
    assert cut.first_heard_us[row_of(dated, "e1")] == us(at(2))
    assert cut.first_heard_us[row_of(dated, "a4")] == np.iinfo(np.int64).max  # heard only after training


DEE_LAST = max(event[2] for event in EVENTS if event[0] != FORGOTTEN)


def test_the_test_period_ends_there(dated):
    assert not task_from_store(dated.until(us(TEST_START)), "test").targets.values.size
    assert dated.until(us(TEST_START)).manifest["test_start_us"] == us(TEST_START)
    earlier = dated.until(us(at(21)))
    assert earlier.manifest["test_start_us"] == us(at(21))
    assert Listening(earlier, "validation").now_us == us(VALIDATION_START)
    within = task_from_store(dated.until(us(at(32))), "test")
    assert within.targets.values.tolist() == [row_of(dated, "a2")]


def test_training_is_what_it_was(dated):
    cut = dated.until(us(at(31)))
    assert cut.train_positives.tolist() == dated.train_positives.tolist()
    assert cut.trained_until("test").train_positives.tolist() == dated.trained_until("test").train_positives.tolist()
    assert cut.trained_until("test").histories.offsets.tolist() == cut.histories.offsets.tolist()
    assert cut.vocabulary("device").values == dated.vocabulary("device").values
    assert cut.fingerprint == dated.fingerprint


def test_leaves_the_store_alone(dated):
    before = dated.histories.action.tolist(), len(dated.playlists), dict(dated.manifest)
    dated.until(us(VALIDATION_START))
    assert (dated.histories.action.tolist(), len(dated.playlists), dated.manifest) == before


@pytest.mark.parametrize(
    ("change", "as_of_us", "words"),
    [
        (
            {},
            us(VALIDATION_START) - 1,
            r"as_of=2026-01-24T23:59:59\+00:00: training goes on until 2026-01-25T00:00:00.*flatter",
        ),
        ({"has_clock": False}, us(at(60)), "as_of: this data knows the order of events alone"),
        ({"validation_start_us": None}, us(at(60)), "as_of: data.split cuts each listener at another time"),
    ],
)
def test_what_cannot_be_cut(dated, change, as_of_us, words):
    other = copy.copy(dated)
    other.manifest = dated.manifest | change
    with pytest.raises(UserError, match=words):
        other.until(as_of_us)


def test_a_store_that_leaves_one_out_cannot_be_cut(tmp_path, make_builder):
    raw_set.write_part(tmp_path / "raw", "events", raw_set.event_table(EVENTS))
    raw_set.write_part(tmp_path / "raw", "users", pa.Table.from_pylist(raw_set.USERS))
    store = make_builder(tmp_path / "raw", tmp_path / "stores", split=LeaveOneOut()).build()[0]
    with pytest.raises(UserError, match="data/split=temporal"):
        store.until(us(at(60)))
