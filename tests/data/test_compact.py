"""Tests of holes and withdrawn contents in stores, and of the view without holes."""

import numpy as np
import pyarrow as pa
import pytest

from tests.data import raw_set
from tests.data.batch_contents import make_batches, plan_of, rows_at, whole_training
from tests.data.lasting import with_holes
from towers.contract import schema
from towers.contract.events import REFUSALS
from towers.data.compact import CompactStore, compacted
from towers.data.history_reader import HistoryReader
from towers.data.refreshed import RefreshedStore
from towers.data.store import Store
from towers.features.ragged import Ragged


@pytest.fixture(scope="module")
def lasting(world_store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """The tiny world with holes in three rows of its contents and listeners, and the id of its most chosen track, which
    has been withdrawn."""
    withdrawn = world_store.content_ids[np.argmax(world_store.train_positives)]
    return with_holes(world_store, tmp_path_factory.mktemp("lasting"), withdrawn=[withdrawn]), withdrawn


def test_a_store_of_before_has_neither_holes_nor_withdrawn_contents(world_store):
    assert world_store.has_content.all()
    assert world_store.has_user.all()
    assert world_store.is_listed.all()
    assert compacted(world_store) is world_store
    kinds = np.array(world_store.contents["kind"].to_pylist())
    np.testing.assert_array_equal(np.array(schema.KINDS)[world_store.kind_codes], kinds)
    np.testing.assert_array_equal(world_store.is_playable, np.isin(kinds, schema.PLAYABLE_KINDS))


def test_what_exists_and_what_may_be_recommended(world_store, lasting):
    store, withdrawn = lasting
    assert np.flatnonzero(~store.has_content).tolist() == [0, 3, len(store.contents) - 1]
    assert np.flatnonzero(~store.has_user).tolist() == [0, 3, len(store.users) - 1]
    assert (store.kind_codes[~store.has_content] == -1).all()
    row = store.content_ids.tolist().index(withdrawn)
    assert np.flatnonzero(store.is_withdrawn).tolist() == [row]
    assert store.has_content[row]
    assert not store.is_listed[row]
    assert set(store.content_ids[store.is_playable]) == set(world_store.content_ids[world_store.is_playable]) - {
        withdrawn
    }
    assert row not in store.members.values
    assert store.train_positives[row] > store.train_targets[row] == 0


def test_without_holes_it_is_the_store_that_it_was(world_store, lasting):
    found, withdrawn = compacted(lasting[0]), lasting[1]
    assert isinstance(found, CompactStore)
    assert found.fingerprint == lasting[0].fingerprint
    np.testing.assert_array_equal(found.content_ids, world_store.content_ids)
    np.testing.assert_array_equal(found.user_ids, world_store.user_ids)
    for name, column in vars_of(world_store.histories).items():
        np.testing.assert_array_equal(getattr(found.histories, name), column, err_msg=name)
    np.testing.assert_array_equal(found.user_codes, world_store.user_codes)
    np.testing.assert_array_equal(found.audio_rows, world_store.audio_rows)
    np.testing.assert_array_equal(found.train_positives, world_store.train_positives)
    np.testing.assert_array_equal(found.first_heard_us, world_store.first_heard_us)
    np.testing.assert_array_equal(found.trained_rows, np.flatnonzero(lasting[0].has_content))
    assert found.playlists.to_pylist() == world_store.playlists.to_pylist()
    row = world_store.content_ids.tolist().index(withdrawn)
    members = world_store.members.where(world_store.members.values != row)
    assert same_lists(found.members, members)
    for part, codes in world_store.content_codes.items():
        kept = codes.where((codes.list_of_value != row) | (part == "kind"))
        assert same_lists(found.content_codes[part], kept), part


def test_it_can_be_cut_and_trained_on_as_the_whole_store(world_store, lasting):
    found, test_start_us = compacted(lasting[0]), world_store.manifest["test_start_us"]
    cut, expected = found.until(test_start_us), world_store.until(test_start_us)
    assert cut.end_us == expected.end_us == test_start_us
    np.testing.assert_array_equal(cut.histories.content_row, expected.histories.content_row)
    np.testing.assert_array_equal(cut.histories.offsets, expected.histories.offsets)
    refit = found.trained_until("test")
    np.testing.assert_array_equal(refit.train_positives, world_store.trained_until("test").train_positives)
    np.testing.assert_array_equal(refit.histories.train_end, world_store.histories.test_start)


@pytest.mark.parametrize(("contents", "users"), [((0, 1, 2), ()), ((-1, -2), (5,)), ((1, 2, 20, 21), (0, -1, -2))])
def test_holes_may_lie_anywhere(world_store, tmp_path, contents, users):
    store = with_holes(world_store, tmp_path, contents=contents, users=users, withdrawn=[])
    assert ((~store.has_content).sum(), (~store.has_user).sum()) == (len(contents), len(users))
    found = compacted(store)
    np.testing.assert_array_equal(found.content_ids, world_store.content_ids)
    for name, column in vars_of(world_store.histories).items():
        np.testing.assert_array_equal(getattr(found.histories, name), column, err_msg=name)
    assert same_lists(found.members, world_store.members)


def test_holes_of_listeners_alone_leave_the_events_mapped(world_store, tmp_path):
    store = with_holes(world_store, tmp_path, contents=(), withdrawn=[])
    found = compacted(store)
    assert found.contents is store.contents
    assert found.histories.content_row is store.histories.content_row
    np.testing.assert_array_equal(found.user_ids, world_store.user_ids)


def test_what_is_withdrawn_is_turned_down_for_no_target(lasting):
    store, withdrawn = lasting
    row = store.content_ids.tolist().index(withdrawn)
    reader, places = HistoryReader(store), np.arange(len(store.histories.action))[None]
    rows, actions = reader.content_rows(places), np.asarray(store.histories.action)[None]
    is_skip = np.isin(actions, REFUSALS) & (rows >= 0)
    np.testing.assert_array_equal(reader.is_rejected(places)[rows >= 0], (is_skip & (rows != row))[rows >= 0])
    assert not reader.target_weights(places, 1.0)[rows == row].any()


def test_rows_of_two_versions_are_the_same(world_store, lasting):
    """Rows last: contents that are in both have their rows, with any holes in either."""
    store = lasting[0]
    rows = RefreshedStore(store, store).trained_rows
    np.testing.assert_array_equal(rows, np.where(store.has_content, np.arange(len(rows)), -1))
    # A store of other rows is joined by id, and a hole belongs to no content.
    np.testing.assert_array_equal(RefreshedStore(world_store, store).trained_rows, np.flatnonzero(store.has_content))
    found = compacted(RefreshedStore(store, world_store))
    np.testing.assert_array_equal(found.trained_rows, np.arange(len(world_store.contents)))
    np.testing.assert_array_equal(found.train_positives, world_store.train_positives)


def test_training_reads_what_is_withdrawn_and_aims_at_nothing_of_it(lasting):
    store, withdrawn = lasting
    row = store.content_ids.tolist().index(withdrawn)
    batch = make_batches(store)[plan_of(whole_training(store))]
    assert row in batch.content_rows.tolist()
    targets = [rows_at(batch, part.targets.index) for part in batch.micro_batches]
    assert row not in np.concatenate(targets)
    histories = [rows_at(batch, part.histories.content_index) for part in batch.micro_batches]
    assert row in np.concatenate([np.ravel(rows) for rows in histories])


def test_what_prepare_makes_of_contents_and_listeners_that_go(raw, tmp_path, make_builder):
    """Contents a4, which was heard, p1 and a5 are not listed any more, and ben is deleted."""
    before = make_builder(raw, tmp_path / "stores").build()[0]
    gone, rows = ("a4", "a5"), before.content_ids.tolist()
    listed = [content for content in raw_set.CONTENTS if content["content_id"] not in gone]
    raw_set.write_part(raw, "contents", raw_set.content_table(listed))
    users = [user | {"deleted": user["deleted"] or user["user_id"] == "ben"} for user in raw_set.USERS]
    raw_set.write_part(raw, "users", pa.Table.from_pylist(users))
    raw_set.write_part(raw, "playlists", pa.Table.from_pylist(raw_set.PLAYLISTS[1:]))
    now = make_builder(raw, tmp_path / "stores").build()[0]
    assert np.flatnonzero(now.is_withdrawn).tolist() == [rows.index("a4")]
    assert {rows[row] for row in np.flatnonzero(~now.has_content)} == {"a5", "p1"}
    assert before.user_ids[~now.has_user].tolist() == ["ben"]
    assert set(now.content_ids[now.is_playable]) == {"a1", "a2", "a3", "e1", "b1", "u9"}
    refreshed = RefreshedStore(now, before)
    np.testing.assert_array_equal(refreshed.trained_rows, np.where(now.has_content, np.arange(len(rows)), -1))
    found = compacted(refreshed)
    assert set(found.content_ids) == set(rows) - {"a5", "p1"}
    assert set(found.user_ids) == {"ann", "dee", "eve"}
    heard = found.histories.content_row[found.histories.content_row >= 0]
    ann = [event[1] for event in raw_set.ANN if event[1]]
    assert found.content_ids[heard].tolist() == [*ann, "a1"]


def vars_of(histories):
    return {name: np.asarray(getattr(histories, name)) for name in histories.__dataclass_fields__}


def same_lists(one: Ragged, other: Ragged) -> bool:
    return np.array_equal(one.offsets, other.offsets) and np.array_equal(one.values, other.values)
