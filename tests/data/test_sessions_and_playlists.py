"""Columns of a store beside listens: sessions, devices, and who made which playlist when, in which order."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from tests.data.raw_set import EVENTS, VALIDATION_START, at
from tests.data.read_back import FORGOTTEN, row_of
from towers.contract.playlists import PLAYLIST_COLUMNS
from towers.data.store import Store
from towers.errors import UserError
from towers.manifest import read_json, write_json

# Of ann, of ben, of cy, who is forgotten, and of dee: in the order of `EVENTS`.
SESSIONS = ["s9", "s9", None, "s1", "s9", "s1", None, "s2", "s2", "s9", "s7", *["s1"] * 4, "s9", "s1", "s1", None]
DEVICES = ["phone", "car", None, "phone", *["tv"] * 3, "watch", *["phone"] * 3, *["tv"] * 5, *["fridge"] * 2, "phone"]
PLAYLISTS = [
    {"playlist_id": "p2", "curator": "listener", "owner_id": "ben", "created": at(4, 1.5),
     "content_ids": ["a3", "nowhere", "a1", "b1", "a1", None, "p2", "a2"]},
    {"playlist_id": "p1", "curator": "editor", "owner_id": None, "created": None, "content_ids": ["nowhere"]},
    {"playlist_id": "p3", "curator": "listener", "owner_id": FORGOTTEN, "created": at(1), "content_ids": ["a1"]},
    {"playlist_id": "p0", "curator": None, "owner_id": "eve", "created": at(5), "content_ids": []},
]  # fmt: skip


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    events = raw_set.event_table(EVENTS)
    for name, values in (("session_id", SESSIONS), ("device", DEVICES)):
        events = events.append_column(name, pa.array(values, pa.string()))
    order = np.random.default_rng(3).permutation(len(events))
    raw_set.write_part(folder, "events", events.take(order))
    raw_set.write_part(folder, "contents", raw_set.content_table(raw_set.CONTENTS).drop_columns("audio"))
    raw_set.write_part(folder, "users", pa.Table.from_pylist(raw_set.USERS))
    raw_set.write_part(folder, "playlists", pa.Table.from_pylist(PLAYLISTS))
    return folder


@pytest.fixture(scope="module")
def kept(raw, tmp_path_factory, make_builder):
    return make_builder(raw, tmp_path_factory.mktemp("stores")).build()[0]


def history_of(store, user_id, name):
    user = store.user_ids.tolist().index(user_id)
    return getattr(store.histories, name)[store.histories.offsets[user] : store.histories.offsets[user + 1]]


class TestSessions:
    def test_a_session_is_called_by_the_place_of_its_first_event(self, kept):
        assert history_of(kept, "ann", "session").tolist() == [0, 0, -1, 3, 0, 3, -1, 7, 7, 0, 10]
        assert history_of(kept, "ben", "session").tolist() == [0, 0, 0, 0, 4]
        assert history_of(kept, "dee", "session").tolist() == [-1]

    def test_a_listener_s_first_events_bear_the_same_numbers_without_the_later_ones(
        self, raw, kept, tmp_path, make_builder
    ):
        events = pq.ParquetFile(raw / "events/part-0.parquet").read()
        early = [time < at(31) for time in events["timestamp"].to_pylist()]
        raw_set.write_part(tmp_path / "raw", "events", events.filter(pa.array(early)))
        for table in ("contents", "users"):
            raw_set.write_part(tmp_path / "raw", table, pq.ParquetFile(raw / table / "part-0.parquet").read())
        shorter = make_builder(tmp_path / "raw", tmp_path / "stores").build()[0]
        assert history_of(shorter, "ann", "session").tolist() == history_of(kept, "ann", "session")[:-1].tolist()

    def test_without_the_columns_nothing_is_known(self, store):
        assert set(store.histories.session.tolist()) == {-1}
        assert set(store.histories.device.tolist()) == {0}
        assert len(store.vocabulary("device")) == 1

    def test_numbers_are_ids_too(self, raw, tmp_path, make_builder):
        for table in ("contents", "users"):
            raw_set.write_part(tmp_path / "raw", table, pq.ParquetFile(raw / table / "part-0.parquet").read())
        events = raw_set.event_table(EVENTS)
        numbers = pa.array([10**17 + place // 2 for place in range(len(events))])
        raw_set.write_part(tmp_path / "raw", "events", events.append_column("session_id", numbers))
        store = make_builder(tmp_path / "raw", tmp_path / "stores").build()[0]
        assert history_of(store, "ann", "session").tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10]

    @pytest.mark.parametrize("name", ["session_id", "device"])
    def test_a_column_of_another_type_is_refused(self, name, raw, tmp_path, make_builder):
        events = raw_set.event_table(EVENTS).append_column(name, pa.array([1.5] * len(EVENTS)))
        path = raw_set.write_part(tmp_path / "raw", "events", events)
        with pytest.raises(UserError, match=f"{path}: column '{name}' is double, must be a string or an integer"):
            make_builder(tmp_path / "raw", tmp_path / "stores").build()


class TestDevices:
    def test_codes_are_those_of_the_training_period(self, kept):
        vocabulary = kept.vocabulary("device")
        assert vocabulary.values == ["car", "phone", "tv"]  # the watch comes at the first cut, the fridge is forgotten
        assert EVENTS[7][2] == VALIDATION_START
        assert history_of(kept, "ann", "device").tolist() == vocabulary.encode(DEVICES[: len(raw_set.ANN)]).tolist()

    def test_a_feature_of_listeners_cannot_be_called_device(self, raw, tmp_path, make_builder, feature_settings):
        features = replace(feature_settings, user_columns=("device",))
        with pytest.raises(UserError, match=r"features.user_columns: 'device' is also a feature of contents or events"):
            make_builder(raw, tmp_path / "stores", features=features).build()


class TestPlaylists:
    def test_members_stand_in_the_order_of_the_list(self, kept):
        ids = kept.content_ids
        found = {ids[row["content_row"]]: row for row in kept.playlists.to_pylist()}
        members = {name: ids[row["member_rows"]].tolist() for name, row in found.items() if row["member_rows"]}
        assert members == {"p2": ["a3", "a1", "b1", "a1", "a2"]}
        assert sorted(found) == ["p0", "p1", "p2"]  # p3 is a forgotten listener's

    def test_who_made_it_and_when(self, kept):
        assert kept.playlists.schema.equals(PLAYLIST_COLUMNS)
        told = ("content_row", "curator", "owner_id", "created")
        assert kept.playlists.select(told).to_pylist() == [
            {"content_row": row_of(kept, "p0"), "curator": None, "owner_id": "eve", "created": at(5)},
            {"content_row": row_of(kept, "p1"), "curator": "editor", "owner_id": None, "created": None},
            {"content_row": row_of(kept, "p2"), "curator": "listener", "owner_id": "ben", "created": at(4, 1.5)},
        ]

    def test_without_a_table_there_are_none(self, raw, tmp_path, make_builder):
        for table in ("events", "users"):
            raw_set.write_part(tmp_path / "raw", table, pq.ParquetFile(raw / table / "part-0.parquet").read())
        store = make_builder(tmp_path / "raw", tmp_path / "stores").build()[0]
        assert store.playlists.equals(PLAYLIST_COLUMNS.empty_table())

    @pytest.mark.parametrize(
        ("created", "expected"),
        [
            (pa.array([date(2026, 1, 7)], pa.date32()), datetime(2026, 1, 7, tzinfo=UTC)),
            (pa.array([1_767_744_000_000], pa.timestamp("ms")), datetime(2026, 1, 7, tzinfo=UTC)),
            (pa.array([300_000_000_000], pa.timestamp("s", "UTC")), None),  # beyond the year 9999
            (pa.array([None], pa.null()), None),
        ],
    )
    def test_times_of_every_kind(self, created, expected, raw, tmp_path, make_builder):
        raw_set.write_part(tmp_path / "raw", "events", pq.ParquetFile(raw / "events/part-0.parquet").read())
        raw_set.write_part(tmp_path / "raw", "users", pq.ParquetFile(raw / "users/part-0.parquet").read())
        one = pa.table({"playlist_id": ["p"], "content_ids": [["a1"]], "created": created})
        raw_set.write_part(tmp_path / "raw", "playlists", one)
        store = make_builder(tmp_path / "raw", tmp_path / "stores").build()[0]
        assert store.playlists["created"].to_pylist() == [expected]
        is_lost = expected is None and created.null_count == 0
        assert store.manifest["counts"]["dates_lost_playlists"] == int(is_lost)


def test_a_store_of_the_format_before_says_that_it_knows_none_of_it(kept, tmp_path):
    folder = tmp_path / kept.folder.name
    for path in (path for path in kept.folder.rglob("*") if path.is_file()):
        if path.name not in ("session.npy", "device.npy", "device.parquet", "playlists.arrow"):
            (folder / path.relative_to(kept.folder)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(kept.folder)).write_bytes(path.read_bytes())
    write_json(folder / "manifest.json", read_json(folder / "manifest.json") | {"format": 2})
    before = Store(folder)
    assert before.histories.context.tolist() == kept.histories.context.tolist()
    assert before.histories.session.tolist() == [-1] * len(kept.histories.session)
    assert before.histories.device.tolist() == [0] * len(kept.histories.device)
    assert before.playlists.equals(PLAYLIST_COLUMNS.empty_table())
    assert len(before.vocabulary("device")) == 1
