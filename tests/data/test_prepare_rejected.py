"""Rows that `prepare` sets aside with a reason, and listeners that it forgets."""

import tracemalloc
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from tests.data.raw_set import ANN, BEN, CY, EVENTS, KNOWN_IDS, at
from tests.data.read_back import FORGOTTEN, assert_nothing_half_written, histories_by_id, rejected
from towers.contract import schema
from towers.data.store import CURRENT
from towers.errors import UserError


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

    def test_nor_where_they_were_rejected_the_night_before(self, raw, tmp_path, make_builder):
        raw_set.write_part(raw, "events", raw_set.event_table([("fay", "a1", at(1), "hum", 1, None)]), part=2)
        builder = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.5)
        assert builder.build()[0].rejected()["events"] == {"unknown action 'hum'": 1}
        raw_set.write_part(raw, "users", pa.table({"user_id": ["fay"], "deleted": [True]}), part=1)
        store = builder.build()[0]
        assert "events" not in store.rejected()
        assert store.manifest["counts"]["rejected_events"] == 0

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
    "the same event is in another row, with other values": (*ANN[0][:4], 1, None),
}


class TestRejected:
    @pytest.fixture(scope="class")
    @staticmethod
    def mixed(tmp_path_factory, make_builder):
        """Raw data with every kind of bad row beside the good ones, in one part file each."""
        folder = tmp_path_factory.mktemp("mixed")
        raw = raw_set.write_raw(folder / "raw")
        (raw / "events/part-1.parquet").unlink()
        future = ("ann", "a1", datetime(2100, 1, 1, tzinfo=UTC), "play", 1, None)
        raw_set.write_events(raw, [*EVENTS, *BAD_EVENTS.values(), future])
        a1 = raw_set.CONTENTS[0]
        bad = [{**a1, "content_id": None}, {**a1, "content_id": "odd", "kind": "opera"},
               {**a1, "content_id": "short", "duration_ms": -1}, {**a1, "title": "Again"}, a1]  # fmt: skip
        raw_set.write_part(raw, "contents", raw_set.content_table([*raw_set.CONTENTS, *bad]))
        bad = [{"playlist_id": None, "content_ids": ["a1"]}, {"playlist_id": "p3", "content_ids": None},
               {"playlist_id": "p1", "content_ids": ["a3"]}, {"playlist_id": "a1", "content_ids": ["a3"]}]  # fmt: skip
        raw_set.write_part(raw, "playlists", pa.Table.from_pylist([*raw_set.PLAYLISTS, *bad]))
        bad = [{"user_id": None, "country": "is"}, {"user_id": "ann", "country": "no"}, raw_set.USERS[0]]
        raw_set.write_part(raw, "users", pa.Table.from_pylist([*raw_set.USERS, *bad]))
        return make_builder(raw, folder / "stores", max_rejected_fraction=0.9).build()[0]

    def test_events(self, mixed):
        reasons = [*BAD_EVENTS, "timestamp out of range"]
        assert rejected(mixed, "events") == dict(enumerate(reasons, start=len(EVENTS)))

    def test_contents(self, mixed):
        reasons = ["content_id is null", "unknown kind 'opera'", "duration_ms is negative",
                   "content_id is in another row, with other values", "duplicate"]  # fmt: skip
        assert rejected(mixed, "contents") == dict(enumerate(reasons, start=len(raw_set.CONTENTS)))

    def test_playlists(self, mixed):
        reasons = ["playlist_id is null", "content_ids is null", "playlist_id is in another row, with other values",
                   "playlist_id is also the content_id of a track"]  # fmt: skip
        assert rejected(mixed, "playlists") == dict(enumerate(reasons, start=len(raw_set.PLAYLISTS)))

    def test_users(self, mixed):
        reasons = ["user_id is null", "user_id is in another row, with other values", "duplicate"]
        assert rejected(mixed, "users") == dict(enumerate(reasons, start=len(raw_set.USERS)))

    def test_clean_rows_are_kept(self, mixed, store):
        assert histories_by_id(mixed) == histories_by_id(store)
        assert mixed.content_ids.tolist() == store.content_ids.tolist()
        assert mixed.user_codes.tolist() == store.user_codes.tolist()
        assert mixed.contents["title"].to_pylist() == store.contents["title"].to_pylist()

    def test_the_manifest_counts_them(self, mixed):
        counts = mixed.manifest["counts"]
        found = {table: (counts[f"rejected_{table}"], counts[f"duplicate_{table}"]) for table in schema.TABLES}
        assert found == {"events": (8, 1), "contents": (4, 1), "users": (2, 1), "playlists": (4, 0)}

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


class TestDuplicates:
    """Delivery at least once brings equal rows: these are dropped and counted, up to a limit of their own."""

    @pytest.fixture
    def twice(self, raw):
        """Returns raw data in which two more of the 18 events that stay are repeats."""
        (raw / "events/part-1.parquet").unlink()
        raw_set.write_events(raw, [*EVENTS, ANN[0], BEN[1]])
        return raw

    def test_do_not_count_as_bad(self, twice, store, tmp_path, make_builder):
        found = make_builder(twice, tmp_path / "stores", max_rejected_fraction=0.0).build()[0]
        assert histories_by_id(found) == histories_by_id(store)
        counts = found.manifest["counts"]
        assert (counts["duplicate_events"], counts["rejected_events"]) == (2, 0)
        assert found.rejected()["events"] == {"duplicate": 2}

    def test_too_many_are_refused(self, twice, tmp_path, make_builder):
        share = 2 / (len(EVENTS) - len(CY) + 2)
        make_builder(twice, tmp_path / "enough", max_duplicate_fraction=share).build()
        with pytest.raises(
            UserError, match=r"are duplicates .*over data\.max_duplicate_fraction=.*, row 19: duplicate"
        ):
            make_builder(twice, tmp_path / "stores", max_duplicate_fraction=share - 1e-9).build()

    @pytest.mark.parametrize("limit", [-0.1, 1.5, float("nan")])
    def test_a_limit_is_a_share(self, raw, tmp_path, make_builder, limit):
        with pytest.raises(UserError, match=r"data\.max_duplicate_fraction=.*: must lie in 0 to 1"):
            make_builder(raw, tmp_path / "stores", max_duplicate_fraction=limit)


class TestWritersOfTheWorld:
    """Values as other writers give them, through to the store."""

    def test_an_hour_of_searches_alone(self, raw, store, tmp_path, make_builder):
        hour = pa.table({"user_id": ["dee"], "content_id": pa.nulls(1), "timestamp": [at(34)], "action": ["search"]})
        raw_set.write_part(raw, "events", hour, part=2)
        found = make_builder(raw, tmp_path / "stores").build()[0]
        assert histories_by_id(found)["dee"] == [*histories_by_id(store)["dee"], (None, "search", at(34))]

    def test_a_time_without_end_is_rejected(self, raw, tmp_path, make_builder):
        stamp = pa.array([2**63 - 1], pa.timestamp("us", tz="UTC"))  # Postgres' and DuckDB's infinity
        raw_set.write_part(
            raw, "events", pa.table({"user_id": ["dee"], "content_id": ["a1"], "timestamp": stamp}), part=2
        )
        found = make_builder(raw, tmp_path / "stores", max_rejected_fraction=0.5).build()[0]
        assert found.rejected()["events"] == {"timestamp out of range": 1}

    def test_a_long_value_costs_its_own_length(self, raw, tmp_path, make_builder):
        """2 MB among 300 contexts and ids: fixed-width text would take 2.4 GB for each of them."""
        events = [*EVENTS, *(("eve", f"t{row}", at(3, row), "play", 1, f"context {row}") for row in range(300))]
        events[-1] = ("eve", "x" * 2_000_000, at(4), "play", 1, "y" * 2_000_000)
        (raw / "events/part-1.parquet").unlink()
        raw_set.write_events(raw, events)
        tracemalloc.start()
        found = make_builder(raw, tmp_path / "stores").build()[0]
        assert max(map(len, found.content_ids)) == 2_000_000
        assert found.vocabulary("context").encode(["y" * 2_000_000]).tolist() != [0]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200e6


def test_columns_of_listeners_may_be_called_as_ours(raw, tmp_path, make_builder):
    """A column `place` of listeners is kept; `user_row`, a reserved name, is left out."""
    listed = [{**each, "place": f"town {number}", "user_row": "x"} for number, each in enumerate(raw_set.USERS)]
    other = {**listed[0], "place": "elsewhere"}
    raw_set.write_part(raw, "users", pa.Table.from_pylist([*listed, listed[1], other]))
    store = make_builder(raw, tmp_path / "stores", max_rejected_fraction=1.0).build()[0]
    assert store.users.column_names == ["user_id", "country", "place"]
    assert dict(zip(store.user_ids.tolist(), store.users["place"].to_pylist(), strict=True))["ann"] == "town 0"
    assert store.rejected()["users"] == {"duplicate": 1, "user_id is in another row, with other values": 1}
