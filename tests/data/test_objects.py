"""Objects of a store without a server: fsspec's filesystem in memory holds them."""

import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.data import raw_set
from towers.data import raw as reading
from towers.data.audio.spectrogram_parts import Shard
from towers.data.engines.duckdb_engine import DuckDbEngine
from towers.data.sources import remote, remote_listing
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.sources.remote import StoreError
from towers.errors import Unreachable

URL = "memory://plays/set"


class Asked(list):
    """Records the keys of the objects whose bytes were requested, and makes some requests fail."""

    failures = 0


@pytest.fixture
def asked(monkeypatch):
    """An empty store behind `memory://`, which is read as `s3://` is; yields the record of its requests."""
    found, answer = Asked(), MemoryFileSystem.cat_file

    def answered(self, path, start=None, end=None, **others):
        found.append(str(path).removeprefix("/plays/set/").removeprefix(URL + "/"))
        if found.failures:
            found.failures -= 1
            raise TimeoutError("no answer")
        return answer(self, path, start, end, **others)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", answered)
    monkeypatch.setitem(remote.LIBRARIES, "memory", "fsspec")
    monkeypatch.setattr(remote_listing, "VERSIONS", ("created",))
    yield found
    MemoryFileSystem.store.clear()  # all of them share it
    MemoryFileSystem.pseudo_dirs[:] = [""]


def put(folder):
    """Puts a folder's files into the store."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        MemoryFileSystem().pipe_file(f"/plays/set/{path.relative_to(folder)}", path.read_bytes())


def test_a_read_that_fails_once_is_no_damaged_file(asked, tmp_path):
    """The read fails while a view is made, and while damage is looked for."""
    for number in range(2):
        raw_set.write_part(tmp_path, "events", raw_set.event_table(raw_set.EVENTS), number)
    put(tmp_path)
    path, other = ParquetFolder(URL).inputs()[1]
    with DuckDbEngine().open(tmp_path, None) as database:
        asked.failures = 1
        with pytest.raises(StoreError, match=rf"^{path}: cannot be read .no answer.$"):
            database.scan("events", [path], ["user_id"])
        asked.failures = 1
        with pytest.raises(StoreError, match="no answer"):
            database.fault_of(other)
        assert database.fault_of(other) is None
        database.scan("events", [path], ["user_id"])
        assert database.count("events") == len(raw_set.EVENTS)


def test_threads_that_share_an_object_read_their_own_places(asked, tmp_path, monkeypatch):
    """The object has many row groups, read on several threads of DuckDB, while each read waits and others go on."""
    numbers, answer = np.random.default_rng(0).integers(2**62, size=400_000), MemoryFileSystem.cat_file

    def slowly(*arguments, **others):
        time.sleep(0.002)
        return answer(*arguments, **others)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", slowly)
    (tmp_path / "events").mkdir()
    rows = pa.table({"user_id": numbers, "content_id": numbers, "timestamp": numbers})
    pq.write_table(rows, tmp_path / "events/part-0.parquet", row_group_size=20_000)
    put(tmp_path)
    (path,) = ParquetFolder(URL).inputs()[1]
    with DuckDbEngine().open(tmp_path, None) as database:
        database.scan("events", [path], ["user_id"])
        found = database.table("events", ("file_row_number",))
    assert np.array_equal(found["user_id"].to_numpy(), numbers)


def test_what_was_asked_for_one_night_is_known_the_next(asked, tmp_path):
    """This holds also for objects that are not named as Parquet, and for those that are none."""
    events = tmp_path / "raw/events"
    events.mkdir(parents=True)
    rows = raw_set.event_table(raw_set.EVENTS)
    for name in ("000000_0", "000001_0", "part-0.parquet"):
        pq.write_table(rows, events / name)
    for name in ("notes.txt", "more.txt"):
        (events / name).write_text("none of Parquet's")

    def night():
        asked.clear()
        source = ParquetFolder(URL)
        source.footers.recall(tmp_path / "footers.json")
        tables = source.tables(tmp_path)
        reading.columns_of(tables, "events")
        tables.footers.keep(tmp_path / "footers.json")
        return tables, sorted(asked)

    put(tmp_path / "raw")
    heads = ["events/000000_0", "events/000001_0", "events/more.txt", "events/notes.txt"]
    assert night()[1] == sorted([*heads, *heads[:2], "events/part-0.parquet"])
    assert night()[1] == []
    store = MemoryFileSystem()
    store.pipe_file("/plays/set/events/notes.txt", b"another version")
    store.pipe_file("/plays/set/events/000002_0", (events / "000000_0").read_bytes())
    tables, third = night()
    assert third == ["events/000002_0", "events/000002_0", "events/notes.txt"]
    assert len(tables.files["events"]) == 4
    assert [path.name for path in tables.left_alone] == ["more.txt", "notes.txt"]
    # The common part of the paths is printed once.
    footers = [tables.footers.of(path) for path in tables.files["events"]]
    assert len({id(each) for footer in footers for each in (footer.schema, footer.told)}) == 2
    assert (tmp_path / "footers.json").read_text().count("played_ms") == 1
    assert night()[1] == []


def test_a_machine_that_decodes_a_share_writes_no_footers(asked, tmp_path, make_builder):
    raw = raw_set.write_raw(tmp_path / "raw")
    put(raw)
    make_builder(ParquetFolder(URL), tmp_path / "stores").decode_shard(Shard(number=20, count=20))
    assert asked
    assert not (tmp_path / "stores/footers.json").exists()


def test_an_object_that_is_written_again_meanwhile_is_refused(asked, tmp_path, make_builder):
    raw = raw_set.write_raw(tmp_path / "raw")
    put(raw)

    def write_again(stage, *_):
        if stage == "events":
            put(raw)

    builder = make_builder(ParquetFolder(URL), tmp_path / "stores", on_progress=write_again)
    with pytest.raises(Unreachable, match=rf"^{URL}/events/part-[01].parquet: was written again while it was read"):
        builder.build()
    assert not (tmp_path / "stores/log/current").exists()
