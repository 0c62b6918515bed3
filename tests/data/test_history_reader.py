"""Stretches of histories as padded tensors, read from the hand-written store."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.data.raw_set import ANN
from towers.contract import schema
from towers.data.history_reader import HistoryReader
from towers.data.sources.ordered_pairs import OrderedPairs
from towers.data.splits.leave_one_out import LeaveOneOut
from towers.features.events import encode_events


@pytest.fixture(scope="module")
def reader(store):
    return HistoryReader(store)


def rows_of(store, user_ids):
    return np.array([store.user_ids.tolist().index(user_id) for user_id in user_ids])


def elapsed_bucket(seconds):
    """Returns the bucket of the time since the event before; 0 where there is none."""
    none = np.zeros(1, np.int64)
    elapsed_us = np.array([-1 if seconds is None else round(seconds * 1e6)])
    codes = encode_events(action=none, elapsed_us=elapsed_us, played_fraction=np.zeros(1), context=none)
    return int(codes.elapsed[0])


def read(store, reader, windows):
    """Returns a batch of (listener, first event, one past the last), counted within the history."""
    users = rows_of(store, [user_id for user_id, *_ in windows])
    begin = store.histories.offsets[users]
    start, end = begin + np.array([w[1] for w in windows]), begin + np.array([w[2] for w in windows])
    places = reader.places(start, end)
    return reader.batch(places, users, reader.content_rows(places)), places


def test_places_are_padded_on_the_right(reader):
    places = reader.places(np.array([3, 10, 7]), np.array([6, 11, 7]))
    assert places.tolist() == [[3, 4, 5], [10, -1, -1], [-1, -1, -1]]


def test_no_listener_at_all(reader):
    assert reader.places(np.zeros(0, np.int64), np.zeros(0, np.int64)).shape == (0, 0)


def test_a_history_by_hand(store, reader):
    batch, _ = read(store, reader, [("ann", 0, 7), ("ben", 0, 2), ("eve", 0, 0)])
    assert batch.lengths.tolist() == [7, 2, 0]
    assert batch.padding_mask.tolist() == [[False] * 7, [False] * 2 + [True] * 5, [True] * 7]
    ids = store.content_ids.tolist()
    assert batch.content_index[0].tolist() == [-1 if e[1] is None else ids.index(e[1]) for e in ANN[:7]]
    assert batch.content_index[1].tolist() == [-1, ids.index("a2"), -1, -1, -1, -1, -1]
    assert batch.action[0].tolist() == [schema.ACTION_CODES[event[3]] for event in ANN[:7]]
    assert batch.context[0].tolist() == store.vocabulary("context").encode([event[5] for event in ANN[:7]]).tolist()
    assert batch.played[0].tolist() == [10, 1, 0, 0, 0, 0, 2]  # 90% and 10% of the duration, 2.5% of the skipped one
    seconds = [None] + [(b[2] - a[2]).total_seconds() for a, b in pairwise(ANN[:7])]
    assert batch.elapsed[0].tolist() == [elapsed_bucket(second) for second in seconds]
    assert batch.user_codes[:, 0].tolist() == store.vocabulary("country").encode(["is", "no", None]).tolist()


def test_padding_says_nothing(store, reader):
    batch, _ = read(store, reader, [("ann", 0, 7), ("ben", 0, 2)])
    for column in (batch.action, batch.elapsed, batch.played, batch.context):
        assert (column[batch.padding_mask] == 0).all()
    assert (batch.content_index[batch.padding_mask] == -1).all()


def test_elapsed_at_a_windows_start_counts_from_the_event_before_the_window(store, reader):
    batch, _ = read(store, reader, [("ann", 3, 6), ("ben", 2, 4)])
    day = 86_400
    assert batch.elapsed[0].tolist() == [elapsed_bucket(day - 160), elapsed_bucket(60), elapsed_bucket(day - 60)]
    assert batch.elapsed[1, 0] == elapsed_bucket(300)
    assert len({elapsed_bucket(second) for second in (None, 60, 300, day)}) == 4


def test_a_first_event_does_not_count_from_another_listeners_last(store, reader):
    batch, _ = read(store, reader, [("ben", 0, 1), ("dee", 0, 1)])
    assert batch.elapsed.tolist() == [[0], [0]]


def test_a_window_reads_what_the_whole_history_reads(world_store):
    reader = HistoryReader(world_store)
    histories = world_store.histories
    user = int(np.argmax(np.diff(histories.offsets)))
    begin, end = histories.offsets[user : user + 2]
    users = np.array([user])
    whole_places = reader.places(np.array([begin]), np.array([end]))
    whole = reader.batch(whole_places, users, reader.content_rows(whole_places))
    places = reader.places(np.array([begin + 5]), np.array([begin + 12]))
    part = reader.batch(places, users, reader.content_rows(places))
    for name in ("content_index", "action", "elapsed", "played", "context"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[:, 5:12])


def test_without_a_clock_no_time_is_known(tmp_path, make_builder, feature_settings):
    (tmp_path / "pairs.txt").write_text("1 10\n1 20\n1 30\n")
    store, _ = make_builder(
        OrderedPairs(str(tmp_path / "pairs.txt")),
        tmp_path / "stores",
        split=LeaveOneOut(),
        features=replace(feature_settings, user_columns=()),
    ).build()
    reader = HistoryReader(store)
    places = reader.places(np.array([0]), np.array([3]))
    batch = reader.batch(places, np.array([0]), reader.content_rows(places))
    assert batch.elapsed.tolist() == [[0, 0, 0]]
    assert batch.user_codes.shape == (1, 0)


def test_target_weights(store, reader):
    _, places = read(store, reader, [("ann", 0, 9), ("ben", 0, 4)])
    weights = reader.target_weights(places, 0.25)
    # ann: play a1, skip, like a1 (again), search, play u9, save e1, a1 too short, play a4, play a1 (again).
    np.testing.assert_allclose(weights[0], [1, 0, 0.25, 0, 1, 1, 0, 1, 0.25])
    # ben: browse, play a2, unsave, play a3 (its duration is not known), padding.
    np.testing.assert_allclose(weights[1], [0, 1, 0, 1, 0, 0, 0, 0, 0])
    assert weights.dtype == np.float32


def test_what_is_turned_down_is_skipped_or_disliked(store, reader):
    _, places = read(store, reader, [("ann", 0, 11), ("ben", 0, 4)])
    # ann: the second event is a skip, the last one a dislike; ben: browse, play, unsave, play, padding.
    assert [np.flatnonzero(row).tolist() for row in reader.is_rejected(places)] == [[1, 10], []]
