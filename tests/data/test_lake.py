"""Delta and Iceberg tables by their logs, and columns in the names of folders."""

import json
import shutil
import struct
import zlib
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyroaring import BitMap

from tests.data import raw_set
from tests.data.read_back import histories_by_id
from tests.data.test_raw import rows, tables_of
from towers.commands.forget import raw_rows
from towers.data import raw as reading
from towers.data.remarks import remarks_on_files
from towers.data.sources import lake
from towers.data.sources.part_files import part_files
from towers.data.sources.partitions import part_of
from towers.errors import UserError


def deletion_vector(deleted):
    """Writes a file with one deletion vector, as Delta's protocol lays it out."""
    data = struct.pack("<iQI", 1681511377, 1, 0) + BitMap(deleted).serialize()
    return b"\x01" + struct.pack(">i", len(data)) + data + struct.pack(">I", zlib.crc32(data))


@pytest.fixture
def raw(tmp_path):
    """The hand-written data set; `events` are its events."""
    return raw_set.write_raw(tmp_path / "raw")


@pytest.fixture
def told(raw):
    """The raw events of the set."""
    return told_by(raw)


@pytest.fixture
def events(raw, told):
    """All events; their folder is removed."""
    found = [pq.read_table(raw / f"events/part-{number}.parquet") for number in (0, 1)]
    shutil.rmtree(raw / "events")
    return pa.concat_tables(found)


def told_by(raw):
    """Returns the raw events of a folder in any of the formats."""
    found = rows(tables_of(raw), "events").drop_columns(["filename", "file_row_number", "row_hash"])
    return sorted(found.to_pylist(), key=str)


class TestFolders:
    def test_columns_of_events(self, raw, events, told):
        for context in {*events["context"].to_pylist()}:
            name = "__HIVE_DEFAULT_PARTITION__" if context is None else context
            folder = raw / f"events/context={name}/day=2026-01-01"
            folder.mkdir(parents=True)
            chosen = [each == context for each in events["context"].to_pylist()]
            pq.write_table(events.filter(pa.array(chosen)).drop_columns(["context"]), folder / "part-0.parquet")
        assert told_by(raw) == told

    def test_values_in_the_contracts_types(self, tmp_path):
        names = "timestamp=2026-01-05 10%3A00%3A00/played_ms=1500/action=ski%70/device=__HIVE_DEFAULT_PARTITION__"
        folder = tmp_path / "events" / names
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"user_id": ["a"], "content_id": ["x"]}), folder / "part-0.parquet")
        (found,) = rows(tables_of(tmp_path), "events").to_pylist()
        assert found["timestamp"] == datetime(2026, 1, 5, 10, tzinfo=UTC)
        assert (found["played_ms"], found["action"], found["device"], found["context"]) == (1500, "skip", None, None)

    def test_a_file_that_has_the_column_is_believed(self, tmp_path):
        for number, columns in enumerate([{}, {"release_date": [date(2020, 1, 1)]}]):
            folder = tmp_path / f"contents/release_date=2021-02-0{number + 1}"
            folder.mkdir(parents=True)
            pq.write_table(pa.table({"content_id": ["x"], **columns}), folder / "part-0.parquet")
        folder = tmp_path / "events"
        folder.mkdir()
        pq.write_table(
            pa.table({"user_id": ["a"], "content_id": ["x"], "timestamp": [datetime(2026, 1, 1)]}), folder / "0.parquet"
        )
        found = rows(tables_of(tmp_path), "contents")["release_date"].to_pylist()
        assert sorted(found) == [date(2020, 1, 1), date(2021, 2, 1)]

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("played_ms=long", r"column 'played_ms' is 'long' by its folder's name, must be a number"),
            ("played_ms=99999999999999999999", r"column 'played_ms' is '9{20}' by its folder's name, must be a number"),
            ("played_ms=1_000", r"column 'played_ms' is '1_000' by its folder's name"),
            ("timestamp=0001-01-01T00:00%2B05:00", r"column 'timestamp' is '0001-01-01T00:00.05:00' by its folder's"),
            ("timestamp=yesterday", r"column 'timestamp' is 'yesterday' by its folder's name, must be a timestamp"),
        ],
    )
    def test_a_value_of_another_type(self, tmp_path, name, words):
        folder = tmp_path / "events" / name
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"user_id": ["a"], "content_id": ["x"]}), folder / "part-0.parquet")
        with pytest.raises(UserError, match=rf"^{folder}/part-0\.parquet: {words}"):
            reading.columns_of(tables_of(tmp_path), "events")

    @pytest.mark.parametrize(
        ("text", "day"),
        [("2021-02-01x", None), ("2021-02-01T10", date(2021, 2, 1)), ("2021-02-01T23:00-05:00", date(2021, 2, 2))],
    )
    def test_all_of_a_day_is_read(self, text, day):
        path, own = Path("part-0.parquet"), pa.schema([("content_id", pa.string())])
        if day is None:
            with pytest.raises(UserError, match=f"column 'release_date' is '{text}' by its folder's name"):
                part_of(path, "contents", own, {"release_date": text})
        else:
            found = part_of(path, "contents", own, {"release_date": text}).constants["release_date"]
            assert (found.sql, found.text) == ("DATE", day.isoformat())

    def test_capitals_name_the_same_column(self):
        own = pa.schema([("user_id", pa.string()), ("Context", pa.string())])
        values = {"Action": "skip", "CONTEXT": "home", "AGE": "7"}
        found = part_of(Path("part-0.parquet"), "events", own, values, ["Age"]).constants
        assert {name: each.text for name, each in found.items()} == {"action": "skip", "Age": "7"}

    def test_a_name_that_is_nearly_a_column_is_told(self, tmp_path, feature_settings):
        folder = tmp_path / "events/day=2026-01-05/acton=skip"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"user_id": ["a"]}), folder / "part-0.parquet")
        assert [*remarks_on_files(tables_of(tmp_path), feature_settings)] == [
            "events/, part-0.parquet: no column 'action', and 'acton' of its folders' names is not read; rename it if "
            "it is meant"
        ]

    def test_sound_is_named_by_folders(self, tmp_path):
        for names, columns in (
            ("content_id=x", {"audio": ["x.flac"]}),
            ("audio=y.flac", {"content_id": ["y"]}),
            ("audio=z.flac/content_id=z", {"kind": ["track"]}),
        ):
            (tmp_path / "contents" / names).mkdir(parents=True)
            pq.write_table(pa.table(columns), tmp_path / "contents" / names / "part-0.parquet")
        (tmp_path / "events").mkdir()
        pq.write_table(pa.table({"user_id": ["a"]}), tmp_path / "events/part-0.parquet")
        named = dict(zip(*reading.audio_paths(tables_of(tmp_path)), strict=True))
        assert named == {"x": "x.flac", "y": "y.flac", "z": "z.flac"}


class TestDelta:
    def test_the_same_events(self, raw, events, told):
        """They are the same where a part of them is overwritten, so that their files are dead and still there."""
        write_deltalake(raw / "events", events.slice(3, 5))
        write_deltalake(raw / "events", events, mode="overwrite", partition_by=["context"], schema_mode="overwrite")
        assert told_by(raw) == told

    def test_an_append_is_a_new_file_and_a_compaction_is_read_anew(self, raw, events, store, tmp_path, make_builder):
        folder, stores = raw / "events", tmp_path / "stores"

        def prepared():
            found = make_builder(raw, stores).build()[0]
            return found, set(json.loads((stores / "log/current/manifest.json").read_text())["files"])

        write_deltalake(folder, events.slice(0, 12))
        _, first = prepared()
        write_deltalake(folder, events.slice(12), mode="append")
        _, second = prepared()
        assert len(first) == 1
        assert first < second
        DeltaTable(folder).optimize.compact()
        found, third = prepared()
        assert len(third) == 1
        assert not third & second
        assert histories_by_id(found) == histories_by_id(store)

    def test_a_column_that_came_later(self, tmp_path):
        told = {"user_id": ["a"], "content_id": ["x"], "timestamp": pa.array([0], pa.timestamp("us", "UTC"))}
        write_deltalake(tmp_path / "events", pa.table(told))
        write_deltalake(tmp_path / "events", pa.table({**told, "device": ["d"]}), mode="append", schema_mode="merge")
        assert sorted(rows(tables_of(tmp_path), "events")["device"].to_pylist(), key=str) == [None, "d"]

    def test_below_a_folder_that_is_named_by_another_column(self, tmp_path):
        told = {"user_id": ["a"], "content_id": ["x"], "timestamp": pa.array([0], pa.timestamp("us", "UTC"))}
        write_deltalake(
            tmp_path / "events/action=skip", pa.table({**told, "context": ["late night"]}), partition_by=["context"]
        )
        tables = tables_of(tmp_path)
        (path,) = tables.files["events"]
        found = tables.part("events", path).constants
        assert {name: each.text for name, each in found.items()} == {"action": "skip", "context": "late night"}

    def test_deleted_rows_in_a_file(self, tmp_path):
        write_deltalake(
            tmp_path, pa.table({"user_id": ["a", "b"]}), configuration={"delta.enableDeletionVectors": "true"}
        )
        assert len(part_files(tmp_path)[0]) == 1
        log = tmp_path / "_delta_log"
        actions = map(json.loads, (log / f"{0:020}.json").read_text().splitlines())
        (added,) = [action["add"] for action in actions if "add" in action]
        (tmp_path / "deletion_vector.bin").write_bytes(deletion_vector([1]))
        place = {"storageType": "p", "pathOrInlineDv": (tmp_path / "deletion_vector.bin").as_uri(), "offset": 1}
        vector = {**place, "sizeInBytes": (tmp_path / "deletion_vector.bin").stat().st_size - 9, "cardinality": 1}
        removed = {"path": added["path"], "dataChange": True, "deletionTimestamp": 1}
        lines = [{"remove": removed}, {"add": {**added, "deletionVector": vector}}]
        (log / f"{1:020}.json").write_text("\n".join(map(json.dumps, lines)))
        with pytest.raises(UserError, match=f"^{tmp_path}: a Delta table, it has deletion vectors.*delta_scan"):
            part_files(tmp_path)

    def test_rows_of_the_forgotten_in_dead_files_are_told(self, tmp_path):
        """Rows count also in files that name the listener in their folder alone."""
        write_deltalake(tmp_path / "events", pa.table({"user_id": ["a", "b"]}))
        write_deltalake(tmp_path / "events", pa.table({"user_id": ["b"]}), mode="overwrite")
        (tmp_path / "events/_unfinished.parquet").write_bytes(b"PAR1")
        (tmp_path / "users/user_id=a").mkdir(parents=True)
        pq.write_table(pa.table({"kind": ["x", "y"]}), tmp_path / "users/user_id=a/part-0.parquet")
        here, dead = raw_rows([str(tmp_path)], ["a"])
        assert here.startswith(f"{tmp_path} is yours and still names them: 2 of users/;")
        assert dead.startswith(f"{tmp_path} is yours and names them in files that are not read: 1 of events/; ")
        assert "VACUUM" in dead
        assert [line.partition(";")[0].endswith(": 1 of events/") for line in raw_rows([str(tmp_path)], ["b"])] == [
            True, True,
        ]  # fmt: skip

    def test_columns_under_other_names(self, tmp_path):
        write_deltalake(tmp_path, pa.table({"user_id": ["a"]}))
        log = tmp_path / "_delta_log" / f"{0:020}.json"
        mapped = log.read_text().replace('"configuration":{}', '"configuration":{"delta.columnMapping.mode":"name"}')
        log.write_text(mapped)
        with pytest.raises(UserError, match="column mapping"):
            part_files(tmp_path)

    def test_a_file_that_is_gone(self, tmp_path):
        write_deltalake(tmp_path, pa.table({"user_id": ["a"]}))
        (part,) = tmp_path.glob("*.parquet")
        part.unlink()
        with pytest.raises(UserError, match=f"its log names a file that is not there .{part.name}"):
            part_files(tmp_path)

    @pytest.mark.parametrize(
        ("library", "mark"), [("deltalake", "_delta_log/0.json"), ("pyiceberg", "metadata/v1.metadata.json")]
    )
    def test_without_the_library(self, tmp_path, monkeypatch, library, mark):
        (tmp_path / mark).parent.mkdir()
        (tmp_path / mark).write_text("{}")
        monkeypatch.setattr(lake, "find_spec", lambda name: None)
        with pytest.raises(
            UserError, match=rf"read with {library}: pip install 'towers-rec\[lake\]', or write the live rows"
        ):
            part_files(tmp_path)


class TestIceberg:
    @pytest.fixture
    def table(self, raw, events):
        """Makes a table of the first events, in a catalogue in memory."""
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog("test", uri="sqlite:///:memory:", warehouse=f"file://{raw.parent}")
        catalog.create_namespace("raw")
        made = catalog.create_table("raw.events", schema=events.schema, location=f"file://{raw}/events")
        made.append(events.slice(0, 12))
        return made

    def test_the_same_events(self, raw, events, table, told):
        table.append(events.slice(12))
        table.delete("user_id = 'ben'")  # writes the file that has them anew, so that a dead one stays
        table.append(events.filter(pc.field("user_id") == "ben"))
        assert told_by(raw) == told
        assert len(part_files(raw / "events")[0]) < len([*(raw / "events/data").glob("*.parquet")])

    def test_a_column_of_another_name(self, raw, table):
        with table.update_schema() as update:
            update.rename_column("context", "place")
        with pytest.raises(UserError, match=f"^{raw}/events: an Iceberg table, column 'place' was renamed"):
            part_files(raw / "events")

    def test_a_column_that_was_dropped_stays_away(self, raw, events, table):
        with table.update_schema() as update:
            update.delete_column("context")
        table.append(events.slice(12).drop_columns(["context"]))
        tables = tables_of(raw)
        assert "context" not in reading.columns_of(tables, "events")
        assert rows(tables, "events")["context"].null_count == len(events)

    def test_a_folder_by_another_path(self, raw, table, monkeypatch):
        """The path is a relative one with `..` in it, a link to the folder, or one whose log names it by a link."""
        (raw.parent / "here").mkdir()
        (raw.parent / "linked").symlink_to(raw, target_is_directory=True)
        monkeypatch.chdir(raw.parent / "here")
        for folder in ("../raw/events", "../linked/events"):
            (part,) = part_files(Path(folder))[0]
            assert Path(str(part)).resolve().is_relative_to(raw.resolve())
        raw.rename(raw.parent / "moved")
        raw.symlink_to(raw.parent / "moved", target_is_directory=True)
        assert len(part_files(Path("../moved/events"))[0]) == 1

    def test_two_states_of_one_number(self, raw, table):
        newest = max((raw / "events/metadata").glob("*.metadata.json"))
        shutil.copyfile(newest, newest.with_name(f"{newest.name[:5]}-other.metadata.json"))
        with pytest.raises(UserError, match="have the same number, so that only its catalog knows"):
            part_files(raw / "events")
