"""Raw data to a prepared store, followed row by row."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from tests.data.raw_set import ANN, BEN, DEE, EVENTS, KNOWN_IDS, at
from tests.data.read_back import FORGOTTEN, histories_by_id, members_of, row_of
from towers.contract import schema
from towers.data.store import Store
from towers.errors import UserError


def expected_histories(events, user_ids=()):
    histories = {user_id: [] for user_id in user_ids}
    for user_id, content_id, time, action, *_ in sorted(events, key=lambda event: event[2]):
        histories.setdefault(user_id, []).append((content_id, action, time))
    return histories


class TestMapping:
    def test_every_event_traces_back_to_its_raw_id_action_and_time(self, store):
        expected = expected_histories([e for e in EVENTS if e[0] != FORGOTTEN], ["eve"])
        assert histories_by_id(store) == expected

    def test_a_shuffled_copy_gives_the_same_histories(self, store, tmp_path, raw, make_builder):
        order = np.random.default_rng(1).permutation(len(EVENTS))
        for part in (raw / "events").iterdir():
            part.unlink()
        raw_set.write_events(raw, [EVENTS[place] for place in order], parts=3)
        shuffled = np.random.default_rng(2).permutation(len(raw_set.CONTENTS))
        raw_set.write_part(raw, "contents", raw_set.content_table([raw_set.CONTENTS[place] for place in shuffled]))
        other = make_builder(raw, tmp_path / "stores").build()[0]
        assert other.fingerprint != store.fingerprint
        assert histories_by_id(other) == histories_by_id(store)
        assert other.content_ids.tolist() == store.content_ids.tolist()

    def test_integer_ids_are_their_digits(self, tmp_path, make_builder, feature_settings):
        times = [at(day) for day in (0, 1, 22, 31)]
        events = pa.table({"user_id": [7, 10, 7, 10], "content_id": [100, 20, 3, 100], "timestamp": times})
        raw_set.write_part(tmp_path / "raw", "events", events)
        contents = pa.table({"content_id": [3, 20], "title": ["three", "twenty"]})
        raw_set.write_part(tmp_path / "raw", "contents", contents)
        features = replace(feature_settings, user_columns=())
        store = make_builder(tmp_path / "raw", tmp_path / "stores", features=features).build()[0]
        assert histories_by_id(store) == {
            "7": [("100", "play", times[0]), ("3", "play", times[2])],
            "10": [("20", "play", times[1]), ("100", "play", times[3])],
        }
        titles = dict(zip(store.content_ids.tolist(), store.contents["title"].to_pylist(), strict=True))
        assert titles == {"3": "three", "20": "twenty", "100": None}

    def test_equal_times_keep_the_order_of_the_file(self, tmp_path, make_builder, raw):
        same = [("ann", content_id, at(3, 5), "play", 100_000, "home") for content_id in ("a2", "a1", "a3")]
        raw_set.write_events(raw, [*EVENTS, *same])
        (raw / "events/part-1.parquet").unlink()
        store = make_builder(raw, tmp_path / "stores").build()[0]
        heard = [content_id for content_id, _, time in histories_by_id(store)["ann"] if time == at(3, 5)]
        assert heard == ["a2", "a1", "a3"]


class TestContents:
    def test_listed_heard_and_named_contents_are_rows(self, store):
        assert store.content_ids.tolist() == KNOWN_IDS

    def test_kinds(self, store):
        kinds = dict(zip(store.content_ids.tolist(), store.contents["kind"].to_pylist(), strict=True))
        assert [kinds[content_id] for content_id in ("u9", "art-x", "art-y", "p1", "e1", "b1")] == [
            "track", "artist", "artist", "playlist", "episode", "audiobook",
        ]  # fmt: skip

    def test_metadata_stays_with_its_content(self, store):
        columns = store.contents.to_pydict()
        for content in raw_set.CONTENTS:
            row = row_of(store, content["content_id"])
            for name, value in content.items():
                assert columns[name][row] == value

    def test_members(self, store):
        assert members_of(store, "p1") == ["a1", "a2"]
        assert members_of(store, "p2") == ["a1", "a3"]
        assert members_of(store, "art-x") == ["a1", "a2"]
        assert members_of(store, "art-y") == ["a2", "a3"]
        assert members_of(store, "a1") == []

    def test_ids_shared_between_artists_and_tracks(self, raw, tmp_path, make_builder):
        listed = [{"content_id": "7", "kind": "track"}, {"content_id": "8", "kind": "track", "artist_ids": ["7", "9"]},
                  {"content_id": "9", "kind": "playlist"}]  # fmt: skip
        raw_set.write_part(raw, "contents", raw_set.content_table(listed), part=1)
        playlist = {"playlist_id": "art-y", "title": "No artist", "content_ids": ["a1"]}
        raw_set.write_part(raw, "playlists", pa.Table.from_pylist([playlist]), part=1)
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert members_of(store, "7") == []
        assert members_of(store, "9") == []
        assert members_of(store, "art-y") == ["a1"]

    def test_a_playlist_that_contents_lists_too_is_one_content(self, raw, tmp_path, make_builder):
        listed = [{"content_id": "p1", "kind": "playlist", "language": "is"},
                  {"content_id": "p2", "kind": "playlist", "title": "Ours"}]  # fmt: skip
        raw_set.write_part(raw, "contents", raw_set.content_table(listed), part=1)
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert store.content_ids.tolist() == KNOWN_IDS
        rows = [store.contents.slice(row_of(store, name), 1).to_pylist()[0] for name in ("p1", "p2")]
        assert [row["title"] for row in rows] == ["Editors", "Ours"]
        assert rows[0]["language"] == "is"
        assert members_of(store, "p1") == ["a1", "a2"]

    def test_vocabularies_know_the_training_period_alone(self, store):
        assert store.vocabulary("genres").encode(["jazz", "polka"]).tolist() == [2, 0]  # a4 is heard after t1
        assert store.vocabulary("context").encode(["home", "radio"]).tolist()[1] == 0
        country = store.vocabulary("country").encode(["is", "no", "fi"])
        assert country.tolist() == [1, 2, 0]  # dee comes after training
        assert store.users.to_pylist()[:2] == [{"user_id": "ann", "country": "is"}, {"user_id": "ben", "country": "no"}]
        assert store.user_codes[:, 0].tolist() == [1, 2, 0, 0]  # ann, ben, dee, eve

    def test_codes_belong_to_their_content(self, store):
        genres, vocabulary = store.content_codes["genres"], store.vocabulary("genres")
        assert sorted(genres[row_of(store, "a2")]) == sorted(vocabulary.encode(["folk", "jazz"]))
        assert genres[row_of(store, "a4")].tolist() == []

    def test_every_simple_column_of_users_is_kept(self, raw, tmp_path, make_builder):
        """Oddly named columns are kept too; lists, and names that the reader's own would hide, are left out."""
        rows = [
            {
                "user_id": "ann",
                "age": 30,
                "size of shoe": 38.5,
                "country": "is",
                "num_train": 7,
                "": "x",
                "reason": 1,
                "many": [1],
            },
            {
                "user_id": "dee",
                "age": None,
                "size of shoe": 41.0,
                "country": None,
                "num_train": 8,
                "": "y",
                "reason": 2,
                "many": [],
            },
        ]
        raw_set.write_part(raw, "users", pa.Table.from_pylist(rows))
        store = make_builder(raw, tmp_path / "stores").build()[0]
        found = {row.pop("user_id"): row for row in store.users.to_pylist()}
        assert found["ann"] == {"country": "is", "age": 30, "size of shoe": 38.5, "num_train": 7}
        assert found["dee"] == {"country": None, "age": None, "size of shoe": 41.0, "num_train": 8}
        assert set(found["ben"].values()) == {None}

    def test_training_counts(self, store):
        def count(name):
            found = dict(zip(store.content_ids.tolist(), store.contents[name].to_pylist(), strict=True))
            return {content_id: number for content_id, number in found.items() if number}

        # ann: play a1 (90%), like a1, play u9 (unknown length), save e1; ben: play a2, play a3 (unknown length).
        assert count("train_positives") == {"a1": 2, "u9": 1, "e1": 1, "a2": 1, "a3": 1}
        assert count("train_plays") == {"a1": 2, "u9": 1, "a2": 1, "a3": 1}
        assert count("train_events") == {"a1": 3, "a2": 2, "u9": 1, "e1": 1, "b1": 1, "a3": 1}


class TestHistories:
    @pytest.fixture(scope="class")
    @staticmethod
    def ann(store):
        place = slice(*store.histories.offsets[:2])
        return {name: getattr(store.histories, name)[place] for name in ("played_fraction", "context", "is_positive",
                                                                        "is_discovery")}  # fmt: skip

    def test_played_fraction(self, ann):
        expected = [0.9, 5 / 200, -1, -1, -1, -1, 0.1, 1, 1, 1, -1]
        np.testing.assert_allclose(ann["played_fraction"], expected, rtol=1e-6)

    def test_positives_are_long_plays_likes_and_saves(self, ann):
        assert np.flatnonzero(ann["is_positive"]).tolist() == [0, 2, 4, 5, 7, 8, 9]

    def test_half_played_is_positive_with_half_required(self, store):
        row = store.user_ids.tolist().index("dee")
        place = store.histories.offsets[row]
        assert store.histories.played_fraction[place] == 0.5
        assert store.histories.is_positive[place]

    def test_discoveries_are_first_positives(self, ann):
        assert np.flatnonzero(ann["is_discovery"]).tolist() == [0, 4, 5, 7, 9]

    def test_context_codes(self, store, ann):
        contexts = [event[5] for event in ANN]
        assert ann["context"].tolist() == store.vocabulary("context").encode(contexts).tolist()


def test_without_a_store_the_message_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="towers prepare"):
        Store.open(tmp_path)


def test_per_listener_times_never_fall(store, world_store):
    for one in (store, world_store):
        times, offsets = one.histories.timestamp_us, one.histories.offsets
        users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        assert (np.diff(times)[np.diff(users) == 0] >= 0).all()


def test_the_world_store_holds_every_event_of_the_world(world_folder, world_store):
    events = pq.read_table(world_folder / "events")
    deleted = pq.read_table(world_folder / "users")
    gone = deleted.filter(pc.fill_null(deleted["deleted"], False))["user_id"].to_pylist()
    expected = defaultdict(list)
    for row in events.sort_by("timestamp").to_pylist():
        if row["user_id"] not in gone:
            expected[row["user_id"]].append((row["content_id"], row["action"], row["timestamp"]))
    found = {user_id: history for user_id, history in histories_by_id(world_store).items() if history}
    assert {u: sorted(h, key=str) for u, h in found.items()} == {u: sorted(h, key=str) for u, h in expected.items()}


def test_hand_written_set_is_what_its_comment_says():
    assert len(EVENTS) == len({event[:4] for event in EVENTS})
    assert {event[3] for event in EVENTS} == set(schema.ACTIONS)
    assert all(a[2] < b[2] for history in (ANN, BEN, DEE) for a, b in pairwise(history))


class TestTrainedUntilTest:
    def test_counts_by_the_second_cut(self, store):
        later, histories = store.trained_until("test"), store.histories
        expected = np.zeros(len(store.content_ids), int)
        for user in range(histories.num_users):
            events = slice(histories.offsets[user], histories.test_start[user])
            liked = histories.content_row[events][histories.is_positive[events]]
            np.add.at(expected, liked[liked >= 0], 1)
        assert later.train_positives.tolist() == expected.tolist()
        assert later.histories.train_end.tolist() == histories.test_start.tolist()
        assert later.train_positives.sum() > store.train_positives.sum()

    def test_leaves_the_store_alone(self, store):
        before = store.train_positives.tolist(), store.histories.train_end.tolist()
        store.trained_until("test")
        assert (store.train_positives.tolist(), store.histories.train_end.tolist()) == before
