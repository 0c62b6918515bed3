"""Raw data to a prepared store, followed row by row."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.data import raw_set
from tests.data.raw_set import ANN, BEN, CY, DEE, EVENTS, KNOWN_IDS, at
from towers import schema
from towers.data import spectrogram_writer
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.split import GlobalTemporal
from towers.data.store import CURRENT, Store
from towers.errors import UserError

FORGOTTEN = "cy"


def histories_by_id(store):
    """Per raw listener id: (raw content id, action, time) in the store's order."""
    histories = store.histories
    content_ids = [*store.content_ids.tolist(), None]  # row -1 is the last
    return {
        user_id: [
            (
                content_ids[histories.content_row[place]],
                schema.ACTIONS[histories.action[place]],
                datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(histories.timestamp_us[place])),
            )
            for place in range(histories.offsets[row], histories.offsets[row + 1])
        ]
        for row, user_id in enumerate(store.user_ids.tolist())
    }


def expected_histories(events, user_ids=()):
    histories = {user_id: [] for user_id in user_ids}
    for user_id, content_id, time, action, *_ in sorted(events, key=lambda event: event[2]):
        histories.setdefault(user_id, []).append((content_id, action, time))
    return histories


def row_of(store, content_id):
    return store.content_ids.tolist().index(content_id)


def members_of(store, content_id):
    return sorted(store.content_ids[store.members[row_of(store, content_id)]].tolist())


def rejected(store, table):
    """Row of the part file -> reason."""
    rows = pq.read_table(store.folder / f"rejected/{table}.parquet").to_pylist()
    return {row["file_row_number"]: row["reason"] for row in rows}


def assert_nothing_half_written(root):
    left = [path.name for path in root.rglob("*") if ".partial" in path.name] if root.exists() else []
    assert not left
    for version in root.glob("*"):
        if version.is_dir() and version.name not in ("spectrograms", "rejected"):
            assert (version / "manifest.json").exists()


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
        """Oddly named ones too; lists, and names that the reader's own would hide, are left behind."""
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


class TestForgotten:
    def test_a_deleted_listener_leaves_no_trace(self, store):
        assert FORGOTTEN not in store.user_ids.tolist()
        assert "only-cy" not in store.content_ids.tolist()
        assert store.manifest["counts"]["forgotten_users"] == 1
        everything = b"".join(path.read_bytes() for path in store.folder.rglob("*") if path.is_file())
        assert b"only-cy" not in everything

    def test_nor_among_what_is_rejected_nor_as_the_owner_of_a_playlist(self, raw, tmp_path, make_builder):
        raw_set.write_part(raw, "events", raw_set.event_table([(FORGOTTEN, "a1", at(1), "hum", 1, None)]), part=2)
        playlist = {"playlist_id": "p-of-cy", "title": "Mine", "owner_id": FORGOTTEN, "content_ids": ["a1"]}
        raw_set.write_part(raw, "playlists", pa.Table.from_pylist([playlist]), part=1)
        raw_set.write_part(raw, "users", pa.table({"user_id": [FORGOTTEN]}), part=1)
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert [path.name for path in (store.folder / "rejected").iterdir()] == ["sounds.parquet"]
        assert store.content_ids.tolist() == KNOWN_IDS

    def test_nor_as_the_owner_of_a_playlist_that_contents_lists_too(self, raw, tmp_path, make_builder):
        playlist = {"playlist_id": "p-of-cy", "title": "Mine", "owner_id": FORGOTTEN, "content_ids": ["a1"]}
        raw_set.write_part(raw, "playlists", pa.Table.from_pylist([playlist]), part=1)
        listed = [{"content_id": "p-of-cy", "kind": "playlist", "title": "Mine"}]
        raw_set.write_part(raw, "contents", raw_set.content_table(listed), part=1)
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert store.content_ids.tolist() == KNOWN_IDS

    def test_a_part_file_without_the_column_does_not_hide_the_wish(self, raw, tmp_path, make_builder):
        raw_set.write_part(raw, "users", pa.table({"user_id": ["fay"], "country": ["is"]}), part=1)
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert FORGOTTEN not in store.user_ids.tolist()
        assert "fay" in store.user_ids.tolist()


BAD_EVENTS = {
    "user_id is null": (None, "a1", at(1), "play", 1, None),
    "content_id is null": ("ann", None, at(1), "play", 1, None),
    "timestamp is null": ("ann", "a1", None, "play", 1, None),
    "timestamp out of range": ("ann", "a1", datetime(1970, 1, 1, tzinfo=UTC), "play", 1, None),
    "unknown action 'hum'": ("ann", "a1", at(1), "hum", 1, None),
    "played_ms is negative": ("ann", "a1", at(1), "play", -1, None),
    "duplicate": ANN[0],
}


class TestRejected:
    @pytest.fixture(scope="class")
    @staticmethod
    def mixed(tmp_path_factory, make_builder):
        """Every kind of bad row beside the good ones, in one part file each."""
        folder = tmp_path_factory.mktemp("mixed")
        raw = raw_set.write_raw(folder / "raw")
        (raw / "events/part-1.parquet").unlink()
        future = ("ann", "a1", datetime(2100, 1, 1, tzinfo=UTC), "play", 1, None)
        raw_set.write_events(raw, [*EVENTS, *BAD_EVENTS.values(), future])
        a1 = raw_set.CONTENTS[0]
        bad = [{**a1, "content_id": None}, {**a1, "content_id": "odd", "kind": "opera"},
               {**a1, "content_id": "short", "duration_ms": -1}, {**a1, "title": "Again"}]  # fmt: skip
        raw_set.write_part(raw, "contents", raw_set.content_table([*raw_set.CONTENTS, *bad]))
        bad = [{"playlist_id": None, "content_ids": ["a1"]}, {"playlist_id": "p3", "content_ids": None},
               {"playlist_id": "p1", "content_ids": ["a3"]}, {"playlist_id": "a1", "content_ids": ["a3"]}]  # fmt: skip
        raw_set.write_part(raw, "playlists", pa.Table.from_pylist([*raw_set.PLAYLISTS, *bad]))
        bad = [{"user_id": None, "country": "is"}, {"user_id": "ann", "country": "no"}]
        raw_set.write_part(raw, "users", pa.Table.from_pylist([*raw_set.USERS, *bad]))
        return make_builder(raw, folder / "stores", max_rejected_fraction=0.9).build()[0]

    def test_events(self, mixed):
        reasons = [*BAD_EVENTS, "timestamp out of range"]
        assert rejected(mixed, "events") == dict(enumerate(reasons, start=len(EVENTS)))

    def test_contents(self, mixed):
        reasons = ["content_id is null", "unknown kind 'opera'", "duration_ms is negative", "duplicate"]
        assert rejected(mixed, "contents") == dict(enumerate(reasons, start=len(raw_set.CONTENTS)))

    def test_playlists(self, mixed):
        reasons = ["playlist_id is null", "content_ids is null", "duplicate",
                   "playlist_id is also the content_id of a track"]  # fmt: skip
        assert rejected(mixed, "playlists") == dict(enumerate(reasons, start=len(raw_set.PLAYLISTS)))

    def test_users(self, mixed):
        reasons = ["user_id is null", "duplicate"]
        assert rejected(mixed, "users") == dict(enumerate(reasons, start=len(raw_set.USERS)))

    def test_clean_rows_are_kept(self, mixed, store):
        assert histories_by_id(mixed) == histories_by_id(store)
        assert mixed.content_ids.tolist() == store.content_ids.tolist()
        assert mixed.user_codes.tolist() == store.user_codes.tolist()
        assert mixed.contents["title"].to_pylist() == store.contents["title"].to_pylist()

    def test_the_manifest_counts_them(self, mixed):
        counts = mixed.manifest["counts"]
        found = {table: counts[f"rejected_{table}"] for table in schema.TABLES}
        assert found == {"events": 8, "contents": 4, "users": 2, "playlists": 4}

    def test_nothing_but_a_broken_sound_is_rejected_from_clean_data(self, store):
        assert [path.name for path in (store.folder / "rejected").iterdir()] == ["sounds.parquet"]
        (row,) = pq.read_table(store.folder / "rejected/sounds.parquet").to_pylist()
        assert row["content_id"] == "a5"
        assert "does not decode" in row["reason"]

    @pytest.mark.parametrize(
        ("value", "words"), [(float("nan"), "not finite"), (float("inf"), "not finite"), (1e300, "out of range")]
    )
    def test_a_number_that_is_none(self, raw, tmp_path, make_builder, value, words):
        events = raw_set.event_table([*EVENTS, ("ann", "a1", at(1), "play", 1, None)])
        played = [float(ms) if ms is not None else None for ms in events["played_ms"].to_pylist()[:-1]]
        events = events.set_column(4, "played_ms", pa.array([*played, value], pa.float64()))
        raw_set.write_part(raw, "events", events)
        (raw / "events/part-1.parquet").unlink()
        contents = pa.table({"content_id": ["odd"], "duration_ms": pa.array([value], pa.float64())})
        raw_set.write_part(raw, "contents", contents, part=1)
        store = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.5).build()[0]
        assert rejected(store, "events") == {len(EVENTS): f"played_ms is {words}"}
        assert rejected(store, "contents") == {0: f"duration_ms is {words}"}
        assert histories_by_id(store)["dee"] == [("a1", "play", at(33))]

    def test_a_good_row_after_a_bad_copy_is_kept(self, raw, tmp_path, make_builder):
        bad = ("ben", "a2", at(7), "play", -1, "home")
        good = ("ben", "a2", at(7), "play", 50_000, "home")
        raw_set.write_events(raw, [*EVENTS, bad, good])
        (raw / "events/part-1.parquet").unlink()
        store = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.9).build()[0]
        assert ("a2", "play", at(7)) in histories_by_id(store)["ben"]

    def test_too_many_fail_with_file_row_and_reason(self, raw, tmp_path, make_builder):
        raw_set.write_events(raw, [*EVENTS, BAD_EVENTS["unknown action 'hum'"], BAD_EVENTS["played_ms is negative"]])
        (raw / "events/part-1.parquet").unlink()
        root = tmp_path / "stores"
        with pytest.raises(UserError) as raised:
            make_builder(raw, root, max_rejected_fraction=0.05).build()
        message = str(raised.value)
        assert "\n" not in message
        for part in ("events/part-0.parquet", f"row {len(EVENTS)}", "unknown action", "data.max_rejected_fraction"):
            assert part in message
        assert not (root / CURRENT).exists()
        assert_nothing_half_written(root)

    def test_too_many_are_kept_to_look_at(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        for part, name in enumerate(("unknown action 'hum'", "played_ms is negative"), start=2):
            raw_set.write_part(raw, "events", raw_set.event_table([BAD_EVENTS[name]]), part=2)
            raw_set.write_part(
                raw, "users", pa.table({"user_id": [None] * part}, pa.schema({"user_id": pa.string()})), 1
            )
            with pytest.raises(UserError) as raised:
                make_builder(raw, root).build()
            assert str(root / "rejected") in str(raised.value)
            assert pq.read_table(root / "rejected/events.parquet")["reason"].to_pylist() == [name]
            assert len(pq.read_table(root / "rejected/users.parquet")) == part
        assert_nothing_half_written(root)

    def test_as_many_as_allowed_pass(self, raw, tmp_path, make_builder):
        raw_set.write_events(raw, [*EVENTS, BAD_EVENTS["unknown action 'hum'"]])
        (raw / "events/part-1.parquet").unlink()
        share = 1 / (len(EVENTS) - len(CY) + 1)  # those to be forgotten are not counted
        make_builder(raw, tmp_path / "stores", max_rejected_fraction=share).build()


class TestSound:
    def test_records_belong_to_their_content(self, store):
        """Every content's loudest band is its own tone's: higher tones, higher bands."""
        loudest = {}
        for content_id in ("e1", "a1", "a2", "a4"):
            record = store.spectrograms.records[store.audio_rows[row_of(store, content_id)]]
            assert record.shape == (16, 100)
            loudest[content_id] = int(record.astype(np.float32).mean(axis=1).argmax())
        assert loudest["e1"] < loudest["a1"] < loudest["a2"] < loudest["a4"]

    def test_contents_without_usable_sound(self, store):
        for content_id in ("a3", "a5", "u9", "art-x", "p1"):
            assert store.audio_rows[row_of(store, content_id)] == -1

    def test_a_broken_file_is_quarantined_with_its_reason(self, store):
        folder = store.folder.parent / "spectrograms" / store.manifest["spectrograms"]
        (row,) = pq.read_table(folder / "rejected.parquet").to_pylist()
        assert row["content_id"] == "a5"
        assert row["audio"].endswith("audio/a5.flac")
        assert "does not decode" in row["reason"]
        assert store.manifest["counts"]["rejected_sounds"] == 1

    def test_a_missing_file_is_quarantined(self, raw, tmp_path, make_builder):
        (raw / "audio/a1.flac").unlink()
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert store.manifest["counts"]["rejected_sounds"] == 2
        assert store.audio_rows[row_of(store, "a1")] == -1
        assert store.audio_rows[row_of(store, "a2")] >= 0

    def test_a_part_file_without_the_column_does_not_silence_the_others(self, raw, tmp_path, make_builder):
        raw_set.write_part(raw, "contents", pa.table({"content_id": ["new"], "kind": ["track"]}), part=1)
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert store.manifest["counts"]["sounds"] == 4


class TestLostSounds:
    """How many sounds may be set aside, and what is told of them."""

    @pytest.fixture
    def with_sounds(self, raw):
        """Contents with these paths of sounds replace those of the raw data."""

        def write(*audio):
            contents = [{"content_id": f"s{place}", "kind": "track", "audio": each} for place, each in enumerate(audio)]
            raw_set.write_part(raw, "contents", raw_set.content_table(contents))

        return write

    def test_most_of_them_missing_is_refused(self, raw, tmp_path, make_builder, with_sounds):
        with_sounds("Audio/A1.FLAC", "audio\\a4.flac", "s3://bucket/a2.wav", "audio/a2.wav")
        with pytest.raises(UserError) as raised:
            make_builder(raw, tmp_path / "stores").build()
        listed = tmp_path / "stores/rejected/sounds.parquet"
        assert str(raised.value) == (
            "contents/: 3 of 4 sounds cannot be used, over data.max_rejected_sounds_fraction=0.5: no such file (3); "
            f"such as s0: no such file: {raw}/Audio/A1.FLAC; there is audio/a1.flac; all are in {listed}; mend the "
            "sounds, or raise the limit (1: any number may be missing)"
        )
        reasons = pq.read_table(listed)["reason"].to_pylist()
        assert reasons[1].endswith("; there is audio/a4.flac, with / for \\")
        assert not (tmp_path / "stores/current").exists()

    def test_the_limit_can_be_raised(self, raw, tmp_path, make_builder, with_sounds):
        with_sounds("nowhere.flac", "not/there.flac")
        builder = make_builder(raw, tmp_path / "stores", max_rejected_sounds_fraction=1.0)
        store, _ = builder.build()
        assert (store.manifest["counts"]["sounds"], store.manifest["counts"]["rejected_sounds"]) == (0, 2)
        assert builder.losses.lines() == [
            f"sounds set aside: 2 of 2: no such file (2); such as s0: no such file: {raw}/nowhere.flac"
        ]

    @pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
    def test_no_share(self, raw, tmp_path, make_builder, share):
        with pytest.raises(UserError, match=r"^data\.max_rejected_sounds_fraction="):
            make_builder(raw, tmp_path / "stores", max_rejected_sounds_fraction=share)

    def test_altered_sounds_are_told_also_when_nothing_is_to_be_done(self, raw, tmp_path, make_builder, with_sounds):
        one = raw_set.tone(440, 1.0)
        soundfile.write(raw / "audio/both.wav", np.stack([one, -one], axis=1), raw_set.RATE_HZ)
        soundfile.write(raw / "audio/one.wav", -one, raw_set.RATE_HZ)
        soundfile.write(raw / "audio/cut.wav", raw_set.tone(440, 2.0), raw_set.RATE_HZ)
        (raw / "audio/cut.wav").write_bytes((raw / "audio/cut.wav").read_bytes()[:-16_000])
        with_sounds("audio/both.wav", "audio/one.wav", "audio/cut.wav")
        store, _ = make_builder(raw, tmp_path / "stores").build()
        again = make_builder(raw, tmp_path / "stores")
        assert not again.build()[1]
        (line,) = again.losses.lines()
        assert line.startswith(
            "sounds altered: 2 of 3: channels cancel each other when mixed to mono (1), cut short (1)"
        )
        assert store.manifest["counts"]["altered_sounds"] == 2
        altered = pq.read_table(store.folder / "rejected/altered_sounds.parquet").to_pylist()
        assert [row["reason"].split(":")[1] for row in altered] == [" the loudest is taken", " 1.0 of 2.0 s decode"]
        one_alone, both = (store.spectrograms.records[store.spectrograms.row_of[name]] for name in ("s1", "s0"))
        loud = one_alone > -8  # below it is the rounding of 16 bits
        np.testing.assert_allclose(both[loud], one_alone[loud], atol=0.1)

    def test_absolute_paths_inside(self, raw, tmp_path, make_builder, with_sounds):
        (tmp_path / "link").symlink_to(raw, target_is_directory=True)
        with_sounds(f"{raw}/audio/a1.flac", f"{tmp_path}/link/audio/a1.flac", "audio/a1.flac")
        records = make_builder(tmp_path / "link", tmp_path / "stores").build()[0].spectrograms.records
        assert len(records) == 3
        np.testing.assert_array_equal(records[0], records[2])
        np.testing.assert_array_equal(records[1], records[2])

    def test_a_decoder_that_comes_later_gives_them_another_chance(
        self, raw, tmp_path, make_builder, with_sounds, monkeypatch
    ):
        pytest.importorskip("av", reason="pip install 'towers[m4a]'")
        from tests.features.test_sound import encoded
        from towers.features import sound_file

        encoded(raw / "audio/new.m4a", "aac")
        with_sounds("audio/new.m4a", "audio/a1.flac")
        with monkeypatch.context() as patch:
            for module in (sound_file, spectrogram_writer):
                patch.setattr(module, "has_ffmpeg", lambda: False)
            builder = make_builder(raw, tmp_path / "stores")
            builder.build()
            (line,) = builder.losses.lines()
            assert "does not decode, .m4a (1)" in line
            assert line.endswith(".m4a takes FFmpeg's decoders: pip install 'towers[m4a]'")
        builder = make_builder(raw, tmp_path / "stores")
        store, is_new = builder.build()
        assert is_new
        assert (store.manifest["counts"]["sounds"], builder.losses.lines()) == (2, [])


class TestNewSounds:
    """A set of spectrograms takes from the one before what it can."""

    @pytest.fixture
    def decoded(self, monkeypatch):
        """Names of the files that were decoded since."""
        from towers.data import spectrogram_parts

        names, decode = [], spectrogram_parts.read_crops

        def counting(path, *rest):
            names.append(path.name)
            return decode(path, *rest)

        monkeypatch.setattr(spectrogram_parts, "read_crops", counting)
        return names

    @pytest.fixture
    def grown(self, raw, tmp_path, make_builder, decoded):
        """The root of a store that was made, after which a sound came that stands before the others."""
        root = tmp_path / "stores"
        make_builder(raw, root).build()
        assert sorted(decoded) == ["a1.flac", "a2.wav", "a4.flac", "a5.flac", "e1.flac"]
        decoded.clear()
        soundfile.write(raw / "audio/new.flac", raw_set.tone(600, 0.7), raw_set.RATE_HZ)
        new = {"content_id": "new", "kind": "track", "audio": "audio/new.flac"}
        raw_set.write_part(raw, "contents", raw_set.content_table([new, *raw_set.CONTENTS]))
        return root

    def test_one_more_is_decoded_alone(self, raw, tmp_path, make_builder, grown, decoded):
        store = make_builder(raw, grown).build()[0]
        assert decoded == ["new.flac"]
        scratch = make_builder(raw, tmp_path / "scratch").build()[0]
        assert len(decoded) == 7
        np.testing.assert_array_equal(store.spectrograms.records, scratch.spectrograms.records)
        assert store.spectrograms.row_of == scratch.spectrograms.row_of
        assert store.fingerprint == scratch.fingerprint
        both = [pq.read_table(one.folder / "rejected/sounds.parquet") for one in (store, scratch)]
        assert both[0].equals(both[1])

    def test_a_changed_one_is_decoded_again(self, raw, make_builder, grown, decoded):
        soundfile.write(raw / "audio/a1.flac", raw_set.tone(900, 0.7), raw_set.RATE_HZ)
        make_builder(raw, grown).build()
        assert sorted(decoded) == ["a1.flac", "new.flac"]

    def test_other_settings_take_nothing(self, raw, make_builder, grown, decoded, feature_settings):
        other = replace(feature_settings.spectrogram, n_mels=8)
        make_builder(raw, grown, features=replace(feature_settings, spectrogram=other)).build()
        assert len(decoded) == 6

    def test_another_front_end_takes_nothing(self, raw, make_builder, grown, decoded, monkeypatch):
        monkeypatch.setattr("towers.data.spectrogram_writer.FRONT_END", 99)
        make_builder(raw, grown).build()
        assert len(decoded) == 6


class TestRunAgain:
    def test_the_manifest_says_where_the_data_lies(self, raw, tmp_path, make_builder):
        first, _ = make_builder(raw, tmp_path / "stores").build()
        assert first.manifest["root"] == str(raw)
        moved = raw.rename(tmp_path / "moved")
        second, is_new = make_builder(moved, tmp_path / "stores").build()
        assert not is_new
        assert second.manifest == {**first.manifest, "root": str(moved)}
        third, is_new = make_builder(ParquetFolder(f"{moved}/"), tmp_path / "stores").build()
        assert not is_new
        assert third.manifest["root"] == f"{moved}/"  # as it was given

    def test_does_nothing(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        first, is_new = make_builder(raw, root).build()
        assert is_new
        before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")}
        stages = []
        second, is_new = make_builder(raw, root, on_progress=lambda stage, *_: stages.append(stage)).build()
        assert not is_new
        assert stages == []
        assert second.folder == first.folder
        assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*")} == before

    def test_a_changed_byte_makes_a_new_store(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        first, _ = make_builder(raw, root).build()
        path = raw / "users/part-0.parquet"
        content = path.read_bytes()
        assert content.count(b"fi") >= 1
        changed = content.replace(b"fi", b"se")
        assert len(changed) == len(content)
        path.write_bytes(changed)
        second, is_new = make_builder(raw, root).build()
        assert is_new
        assert second.fingerprint != first.fingerprint
        assert (root / CURRENT).resolve() == second.folder
        assert (first.folder / "manifest.json").exists()

    def test_a_changed_sound_makes_a_new_store(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        first, _ = make_builder(raw, root).build()
        soundfile.write(raw / "audio/a1.flac", raw_set.tone(500, 0.7), raw_set.RATE_HZ)
        second, is_new = make_builder(raw, root).build()
        assert is_new
        assert second.manifest["spectrograms"] != first.manifest["spectrograms"]

    def test_other_settings_make_another_store(self, raw, tmp_path, make_builder):
        root = tmp_path / "stores"
        first, _ = make_builder(raw, root).build()
        second, is_new = make_builder(raw, root, split=GlobalTemporal("2026-01-24", "2026-02-04")).build()
        assert is_new
        assert second.manifest["spectrograms"] == first.manifest["spectrograms"]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from towers.data.build import StoreBuilder
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.split import GlobalTemporal
from towers.features.settings import FeatureSettings

def die(stage, *rest):
    if stage == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

StoreBuilder(
    root=Path(sys.argv[2]), source=ParquetFolder(sys.argv[1]), split=GlobalTemporal("2026-01-25", "2026-02-04"),
    features=FeatureSettings.from_dict(json.loads(sys.argv[4])), max_rejected_fraction=0.0, num_workers=1,
    on_progress=die,
).build()
"""


@pytest.mark.unhooked
class TestKilled:
    @pytest.mark.parametrize("stage", ["spectrograms", "histories"])
    def test_a_run_after_a_kill_ends_well(self, stage, raw, tmp_path, make_builder, feature_settings):
        root = tmp_path / "stores"
        first, _ = make_builder(raw, root).build()
        soundfile.write(raw / "audio/a1.flac", raw_set.tone(500, 0.7), raw_set.RATE_HZ)
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, raw, root, stage, json.dumps(feature_settings.to_dict())],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=60,
        )
        assert killed.returncode == -signal.SIGKILL
        assert Store.open(root).folder == first.folder
        assert histories_by_id(Store.open(root)) == histories_by_id(first)
        assert list(root.rglob("*.partial"))  # it was in the middle

        second, is_new = make_builder(raw, root).build()
        assert is_new
        assert second.folder != first.folder
        assert Store.open(root).folder == second.folder
        assert histories_by_id(second) == histories_by_id(first)
        assert len(second.spectrograms.records) == 4
        assert np.isfinite(second.spectrograms.records).all()
        assert_nothing_half_written(root)


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
        later, histories = store.trained_until_test(), store.histories
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
        store.trained_until_test()
        assert (store.train_positives.tolist(), store.histories.train_end.tolist()) == before
