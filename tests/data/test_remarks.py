"""Raw data that is allowed and probably a mistake: reported in a line, and refused beyond a limit."""

import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from tests.data.raw_set import EVENTS, at
from towers.data.sources.timed_events import TimedEvents
from towers.data.splits.leave_one_out import LeaveOneOut
from towers.errors import UserError

USUAL = re.compile(r"events/: [12] of \d+ events are of|playlists/: 1 of 5 entries")
"""Remarks on the hand-written set: an event of u9, one of a forgotten listener, and an entry of an unknown content."""


@pytest.fixture
def told(raw, tmp_path, make_builder):
    """Prepares the set; returns the lines beyond those of the unchanged set. They come again from the manifest."""

    def prepare(source=raw, **settings):
        lines = []
        for _ in range(2):
            builder = make_builder(source, tmp_path / "stores", **settings)
            builder.build()
            lines.append([line for line in builder.remarks if not USUAL.match(line)])
        assert lines[0] == lines[1]
        return lines[0]

    return prepare


def changed(path, **columns):
    """Rewrites columns of a part file; None removes one."""
    rows = pq.read_table(path)
    for name, change in columns.items():
        place = rows.column_names.index(name)
        rows = rows.remove_column(place) if change is None else rows.set_column(place, *change(rows[name]))
    pq.write_table(rows, path)


def renamed(name):
    return lambda column: (name, column)


def test_nothing_is_said_of_data_as_it_should_be(world_store):
    assert world_store.remarks == []


class TestPlaylists:
    def test_one_of_which_nothing_is_known(self, raw, tmp_path, make_builder):
        lists = [*raw_set.PLAYLISTS, {"playlist_id": "p3", "content_ids": ["gone", None]}]
        raw_set.write_part(raw, "playlists", pa.Table.from_pylist(lists))
        store = make_builder(raw, tmp_path / "stores").build()[0]
        assert store.remarks[-1] == (
            "playlists/: 3 of 7 entries, in 2 of 3 playlists, are neither in contents/ nor in events/, for example "
            "'nowhere' of 'p1'; none is known of 1 playlists, such as 'p3'"
        )

    def test_too_many_are_refused(self, raw, tmp_path, make_builder):
        lists = [{"playlist_id": "p1", "content_ids": ["x", "y", "a1"]}]
        raw_set.write_part(raw, "playlists", pa.Table.from_pylist(lists))
        with pytest.raises(UserError, match=r"2 of 3 entries.*'x' of 'p1'; these are 66\.7%, over data\.max_unlisted_"):
            make_builder(raw, tmp_path / "stores", max_unlisted_fraction=0.5).build()
        assert not (tmp_path / "stores/current").exists()
        make_builder(raw, tmp_path / "stores", max_unlisted_fraction=2 / 3).build()


class TestEvents:
    def test_most_of_contents_that_are_not_listed_are_refused(self, raw, tmp_path, make_builder):
        others = [("ann", f"x{number % 4}", at(4, number), "play", 1, None) for number in range(20)]
        raw_set.write_part(raw, "events", raw_set.event_table(others), part=2)
        with pytest.raises(UserError) as raised:
            make_builder(raw, tmp_path / "stores", max_unlisted_fraction=0.5).build()
        assert str(raised.value) == (
            "events/: 21 of 35 events are of 5 contents that contents/ does not list, for example 'x0'; they are known "
            "by their ids alone; these are 60.0%, over data.max_unlisted_fraction=0.5: mend the ids, or raise the "
            "limit (1: any number)"
        )

    def test_without_contents_nothing_is_to_be_listed(self, raw, told):
        (raw / "contents/part-0.parquet").unlink()
        assert not [line for line in told() if "does not list" in line]

    def test_an_artist_who_is_only_named_is_known(self, raw, tmp_path, make_builder):
        liked = [("dee", "art-y", at(34), "like", None, None)]
        raw_set.write_part(raw, "events", raw_set.event_table(liked), part=2)
        assert make_builder(raw, tmp_path / "stores").build()[0].remarks[0].startswith("events/: 1 of 16 events are of")

    def test_times_without_a_zone(self, raw, told):
        changed(
            raw / "events/part-0.parquet", timestamp=lambda times: ("timestamp", times.cast(pa.timestamp("us", None)))
        )
        assert told() == [
            "events/, part-0.parquet: timestamps have no time zone and are taken as UTC, such as 2026-01-05 00:00:00; "
            "if they are local times, write them with their zone"
        ]

    @pytest.mark.parametrize(("zone", "lines"), [(None, 1), ("UTC", 0)])
    def test_times_without_a_zone_in_a_file_of_plays(self, tmp_path, told, feature_settings, zone, lines):
        times = pa.array([event[2].replace(tzinfo=None) for event in EVENTS], pa.timestamp("ms", zone))
        users, contents = [event[0] for event in EVENTS], [event[1] or "a1" for event in EVENTS]
        pq.write_table(pa.table({"user": users, "content": contents, "timestamp": times}), tmp_path / "plays.parquet")
        source = TimedEvents(str(tmp_path / "plays.parquet"))
        found = told(source, features=replace(feature_settings, user_columns=()), max_duplicate_fraction=1.0)
        assert len(found) == lines
        assert all(line.startswith(f"{tmp_path}/plays.parquet: timestamps have no time zone") for line in found)

    def test_played_times_in_seconds(self, raw, told):
        for part in raw.glob("events/*.parquet"):
            changed(part, played_ms=lambda played: ("played_ms", pa.compute.divide(played, 1000)))
        (line,) = told(split=LeaveOneOut())
        assert line == (
            "events/: played_ms of plays is below 1,000 in 10 of 10 rows, such as 10 of 'a1'; the column is in "
            "milliseconds, and these look like seconds"
        )

    def test_plays_that_are_all_too_short(self, raw, told):
        for part in raw.glob("events/*.parquet"):
            changed(part, played_ms=lambda played: ("played_ms", pa.array([1_200] * len(played))))
        raw_set.write_part(
            raw, "contents", raw_set.content_table([{**each, "duration_ms": 50_000} for each in raw_set.CONTENTS])
        )
        raw_set.write_part(raw, "contents", pa.table({"content_id": ["u9"], "duration_ms": [50_000]}), part=1)
        (line,) = told(split=LeaveOneOut())
        assert line == (
            "events/: none of 10 plays is positive, the longest was 2.4% of its content, below "
            "features.min_played_fraction=0.5; likes and saves alone count"
        )


class TestListeners:
    def test_none_of_them_is_heard_of(self, raw, told):
        raw_set.write_part(raw, "users", pa.table({"user_id": [1, 2], "country": ["is", "no"]}))
        raw_set.write_part(raw, "users", pa.table({"user_id": ["cy"], "deleted": [True]}), part=1)
        assert told() == [
            "users/: none of its 2 listeners, such as '1', is in events/, whose listeners are called like 'ann'"
        ]


class TestColumns:
    def test_named_nearly_as_the_contracts(self, raw, told):
        changed(raw / "contents/part-0.parquet", artist_ids=renamed("artist_id"), genres=renamed("GENRE"))
        changed(raw / "users/part-0.parquet", deleted=renamed("deleted_at"))
        assert told() == [
            "contents/, part-0.parquet: no column 'artist_ids', and 'artist_id' is not read; rename it if it is meant",
            "contents/, part-0.parquet: no column 'genres', and 'GENRE' is not read; rename it if it is meant",
            "users/, part-0.parquet: no column 'deleted', and 'deleted_at' is not read; rename it if it is meant",
        ]

    def test_a_listeners_feature_is_meant(self, raw, told, feature_settings):
        changed(raw / "users/part-0.parquet", deleted=renamed("deleted_at"))
        assert told(features=replace(feature_settings, user_columns=("country", "deleted_at"))) == []

    def test_one_that_must_be_there_is_found(self, raw, tmp_path, make_builder):
        changed(raw / "events/part-0.parquet", user_id=renamed("user"))
        with pytest.raises(UserError, match=r"no column 'user_id', .*; rename 'user' where it is meant"):
            make_builder(raw, tmp_path / "stores").build()
        changed(raw / "events/part-0.parquet", user=renamed("who"))
        with pytest.raises(UserError, match=r"no column 'user_id', .*; it has who, content_id, timestamp"):
            make_builder(raw, tmp_path / "stores").build()

    def test_one_that_is_left_out(self, raw, told):
        users = [{**each, "age": 7, "Age": "seven"} for each in raw_set.USERS]
        raw_set.write_part(raw, "users", pa.Table.from_pylist(users))
        reason = f"columns 'age' and 'Age' of {raw}/users/part-0.parquet are one to SQL; rename one of them"
        assert told() == [f"users/: column {name!r} is left out: {reason}" for name in ("Age", "age")]

    def test_without_a_value(self, raw, told):
        bare = [{**each, "genres": [], "explicit": None, "audio": None} for each in raw_set.CONTENTS]
        raw_set.write_part(raw, "contents", raw_set.content_table(bare))
        users = [{**each, "country": None} for each in raw_set.USERS]
        raw_set.write_part(raw, "users", pa.Table.from_pylist(users, pa.schema({**SCHEMA})))
        assert told() == ["null or empty in every row: genres, explicit, audio of contents/; country of users/"]

    def test_durations_in_seconds(self, raw, told):
        short = [{**each, "duration_ms": (each.get("duration_ms") or 0) // 1000} for each in raw_set.CONTENTS]
        raw_set.write_part(raw, "contents", raw_set.content_table(short))
        assert told() == [
            "contents/: duration_ms is below 1,000 in 4 of 4 rows, such as 100 of 'a1'; the column is in milliseconds, "
            "and these look like seconds"
        ]


SCHEMA = {"user_id": pa.string(), "deleted": pa.bool_(), "country": pa.string()}


class TestTables:
    def test_a_folder_or_file_called_nearly_as_a_table(self, raw, told, feature_settings):
        (raw / "users").rename(raw / "user")
        (raw / "playlists/part-0.parquet").rename(raw / "playlists.parquet")
        (raw / "playlists").rmdir()
        (raw / "labels.parquet").touch()
        assert told(features=replace(feature_settings, user_columns=())) == [
            f"not read: {raw}/playlists.parquet; if it is meant, put it into a folder {raw}/playlists/",
            f"not read: {raw}/user; if it is meant, call it {raw}/users/",
        ]

    def test_the_events_themselves(self, raw, tmp_path, make_builder):
        (raw / "events").rename(raw / "Event")
        with pytest.raises(UserError, match=r"it is required; Event is there: if it is meant, call it .*/events/$"):
            make_builder(raw, tmp_path / "stores").build()
