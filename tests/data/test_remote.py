"""Raw data in an object store, read over HTTP from moto's server, which speaks S3."""

import filecmp
import json
import logging
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from moto import settings
from moto.server import ThreadedMotoServer
from pyiceberg.catalog.sql import SqlCatalog

from tests.answering_store import answering
from tests.data import raw_set
from towers.commands.forget import raw_rows
from towers.data import raw as reading
from towers.data.sources import remote
from towers.data.sources.footers import Footers
from towers.data.sources.lake import ICEBERG, live_files
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.sources.part_files import part_files
from towers.data.sources.remote import path_below, remote_folder
from towers.data.sources.tables import raw_folder
from towers.data.sources.timed_events import TimedEvents
from towers.errors import Unreachable, UserError
from towers.lifecycle.forgetting_raw import rows_in

BUCKET = "plays"


@pytest.fixture(scope="module")
def filesystem():
    """An fsspec filesystem on a server with one bucket, with the environment variables that s3fs and delta-rs read."""
    import s3fs

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # another server's
        filesystem = s3fs.S3FileSystem(use_listings_cache=False)
        filesystem.mkdir(BUCKET)
        yield filesystem
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def s3(filesystem):
    """The file system; files that a test wrote are removed."""
    yield filesystem
    filesystem.rm(f"{BUCKET}/set", recursive=True)


@pytest.fixture
def raw(tmp_path):
    """The hand-written data set without sound."""
    root = raw_set.write_raw(tmp_path / "raw")
    contents = root / "contents/part-0.parquet"
    pq.write_table(pq.read_table(contents).drop_columns(["audio"]), contents)
    shutil.rmtree(root / "audio")
    return root


def put(filesystem, folder, key="set"):
    """Uploads a folder, and returns its URL."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        filesystem.pipe_file(f"{BUCKET}/{key}/{path.relative_to(folder)}", path.read_bytes())
    return f"s3://{BUCKET}/{key}"


def prepared(make_builder, url, stores):
    return make_builder(ParquetFolder(str(url)), stores).build()[0]


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_same(here, there):
    """Checks that two versions of a store are equal byte by byte, except for the place of their data."""
    assert files_of(here.folder) == files_of(there.folder)
    differing = [
        name for name in files_of(here.folder) if not filecmp.cmp(here.folder / name, there.folder / name, False)
    ]
    assert differing == ["manifest.json"]
    mine, other = (json.loads((store.folder / "manifest.json").read_text()) for store in (here, there))
    assert {name for name in mine if mine[name] != other[name]} == {"root", "fingerprint", "request"}


def test_the_same_store_as_from_a_disk(s3, raw, tmp_path, make_builder):
    here = prepared(make_builder, raw, tmp_path / "here")
    there = prepared(make_builder, put(s3, raw), tmp_path / "there")
    assert_same(here, there)
    assert there.manifest["root"] == f"s3://{BUCKET}/set"


ODD = ("it's a [b] part *1?.parquet", "context=home/Müsik%20#1.parquet", "000000_0")


def events_in_two_nights(raw):
    """Writes both part files of events under odd names; returns the part that the second night adds under another."""
    events = raw / "events"
    (events / "context=home").mkdir()
    later = pq.read_table(events / "part-1.parquet")
    pq.write_table(later.slice(0, 4), events / ODD[1])
    (events / "part-0.parquet").rename(events / ODD[0])
    (events / "part-1.parquet").unlink()
    return later.slice(4)


def objects_read(caplog):
    """Returns the keys of the objects that were requested by GET, once for each request."""
    found = [re.search(r"GET /plays/(\S+) HTTP", record.getMessage()) for record in caplog.records]
    return [match[1] for match in found if match and "list-type" not in match[1]]


def test_odd_names_and_a_new_object_each_night(s3, raw, tmp_path, make_builder, caplog):
    later = events_in_two_nights(raw)
    url, stores = put(s3, raw), tmp_path / "there"
    prepared(make_builder, url, stores)
    pq.write_table(later, raw / "events" / ODD[2])
    put(s3, raw)
    caplog.clear()
    with caplog.at_level(logging.INFO, "werkzeug"):
        there = prepared(make_builder, url, stores)
    assert_same(prepared(make_builder, raw, tmp_path / "here"), there)
    # Neither rows nor footers of objects in the log are requested again; put writes the same bytes, so the same ETags.
    assert {key for key in objects_read(caplog) if "/events/" in key} == {f"set/events/{ODD[2]}"}
    log = json.loads((stores / "log/current/manifest.json").read_text())
    assert set(log["files"]) == {f"events/{name}" for name in ODD}
    assert all(digest.startswith("ETag ") for digest in log["files"].values())


def test_each_footer_is_fetched_by_one_request(s3, raw, caplog):
    tables = ParquetFolder(put(s3, raw)).tables(raw)
    with caplog.at_level(logging.INFO, "werkzeug"):
        for table in tables.files:
            reading.columns_of(tables, table)
        reading.check_not_empty(tables)
        reading.select_raw(tables, "events")
    asked = objects_read(caplog)
    assert len(asked) == len(set(asked)) == len(tables.objects)


def test_a_long_footer(s3, tmp_path):
    """The footer is longer than the first request."""
    path = tmp_path / "events/part-0.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({f"column {number}": [number] for number in range(1000)}), path)
    (part,) = part_files(remote_folder(put(s3, tmp_path)) / "events")[0]
    here, there = Footers().of(path), Footers().of(part)
    assert path.stat().st_size > 40_000
    assert (here.schema, here.num_rows, here.empty) == (there.schema, there.num_rows, there.empty)


def test_a_delta_table(s3, raw):
    events = pq.read_table(raw / "events/part-0.parquet")
    shutil.rmtree(raw / "events")
    write_deltalake(raw / "events", events.slice(5))
    write_deltalake(raw / "events", events, mode="overwrite", partition_by=["context"], schema_mode="overwrite")
    alive = [path.relative_to(raw) for path in part_files(raw / "events")[0]]
    assert len([*(raw / "events").rglob("*.parquet")]) > len(alive)
    tables = ParquetFolder(put(s3, raw)).tables(raw)
    assert [path_below(path, tables.root) for path in tables.files["events"]] == alive
    told = {tables.part("events", path).constants["context"].text for path in tables.files["events"]}
    assert told == {*events["context"].to_pylist()}


def test_an_iceberg_table(s3, raw):
    told = pq.read_table(raw / "events/part-0.parquet")
    through = "pyiceberg.io.fsspec.FsspecFileIO"
    catalog = SqlCatalog("test", uri="sqlite:///:memory:", warehouse=f"s3://{BUCKET}/set", **{"py-io-impl": through})
    catalog.create_namespace("raw")
    table = catalog.create_table("raw.events", schema=told.schema, location=f"s3://{BUCKET}/set/events")
    table.append(told)
    table.append(told)
    table.delete("user_id = 'ben'")
    parts = part_files(remote_folder(f"s3://{BUCKET}/set") / "events")[0]
    assert sum(Footers().of(part).num_rows for part in parts) == table.scan().count()


@pytest.mark.slow
def test_sound(s3, tmp_path, make_builder):
    """One sound is broken, one missing, one outside of the folder, and one without a folder."""
    root = raw_set.write_raw(tmp_path / "raw")
    shutil.copyfile(root / "audio/a1.flac", root / "a3.flac")
    path = root / "contents/part-0.parquet"
    contents = pq.read_table(path)
    more = dict(zip(("a3", "b1", "art-x"), ("./a3.flac", "audio/gone.flac", "../elsewhere/a.flac"), strict=True))
    named = [more.get(row["content_id"], row["audio"]) for row in contents.to_pylist()]
    pq.write_table(contents.set_column(contents.column_names.index("audio"), "audio", pa.array(named)), path)
    url = put(s3, root)
    here, there = (
        make_builder(ParquetFolder(str(place)), tmp_path / name, max_rejected_sounds_fraction=1.0).build()[0]
        for place, name in ((root, "here"), (url, "there"))
    )
    assert there.spectrograms.records.tobytes() == here.spectrograms.records.tobytes()
    assert there.manifest["counts"] == here.manifest["counts"]
    reasons = pq.read_table(there.folder / "rejected/sounds.parquet").to_pylist()
    told = {row["content_id"]: row["reason"].partition(":")[0] for row in reasons}
    assert told["b1"] == "no such object"
    assert told["art-x"] == "leaves the data set's folder, or is no path"
    expected = pq.read_table(here.folder / "rejected/sounds.parquet").to_pylist()
    assert {row["content_id"] for row in reasons} == {row["content_id"] for row in expected}
    assert {row["content_id"]: row["reason"] for row in expected}["a5"] in {row["reason"] for row in reasons}


class TestRefused:
    """A refusal is one line that names what could not be read."""

    @pytest.mark.parametrize("url", ["s3://nobody/set", f"s3://{BUCKET}/nothing"])
    def test_no_such_bucket_or_folder(self, filesystem, url):
        with pytest.raises(
            UserError, match=rf"^data\.root={url}: no such bucket, or nothing in such a folder"
        ) as raised:
            ParquetFolder(url).inputs()
        assert not isinstance(raised.value, Unreachable)

    def test_no_events(self, s3, raw):
        (raw / "events").rename(raw / "event")
        url = put(s3, raw)
        with pytest.raises(UserError, match=rf"^data\.root={url}: no events.*event is there: .*call it {url}/events/"):
            ParquetFolder(url).inputs()

    def test_a_denied_key(self, s3, raw, monkeypatch):
        url = put(s3, raw)
        with monkeypatch.context() as patch:
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
            with pytest.raises(UserError, match=f"^{url}: cannot be read .*does not exist in our records") as raised:
                ParquetFolder(url).inputs()
        assert not isinstance(raised.value, Unreachable)

    def test_denied_after_listing(self, s3, raw, monkeypatch):
        tables = ParquetFolder(put(s3, raw)).tables(raw)
        with monkeypatch.context() as patch:
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
            with pytest.raises(UserError, match=rf"^s3://{BUCKET}/set/events/part-0\.parquet: cannot be read"):
                reading.columns_of(tables, "events")

    def test_an_object_that_is_damaged(self, s3, raw, tmp_path, make_builder):
        path = raw / "events/part-1.parquet"
        content = bytearray(path.read_bytes())
        content[4:400] = bytes(396)
        path.write_bytes(content)
        url = put(s3, raw)
        with pytest.raises(UserError, match=rf"^{url}/events/part-1\.parquet: damaged"):
            prepared(make_builder, url, tmp_path / "there")

    def test_one_that_is_cut_short(self, s3, raw):
        path = raw / "events/part-1.parquet"
        path.write_bytes(path.read_bytes()[:-5])
        tables = ParquetFolder(put(s3, raw)).tables(raw)
        with pytest.raises(UserError, match=rf"^s3://{BUCKET}/set/events/part-1\.parquet: not a readable Parquet file"):
            reading.columns_of(tables, "events")

    def test_a_key_that_is_no_path(self, s3, raw):
        url = put(s3, raw)
        s3.pipe_file(f"{BUCKET}/set/events//part-2.parquet", b"")
        with pytest.raises(UserError, match=f"^{url}/events//part-2.parquet: a key with an empty part"):
            ParquetFolder(url).inputs()


class TestUnreachable:
    """An unreachable store is no mistake of the caller: the same command may succeed later."""

    @pytest.fixture
    def store_at(self, monkeypatch):
        """Leads s3fs to an address, with a single attempt."""
        import s3fs

        for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)

        def lead(address):
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            s3fs.S3FileSystem.clear_instance_cache()

        yield lead
        s3fs.S3FileSystem.clear_instance_cache()

    def test_a_store_that_asks_for_patience(self, store_at):
        with answering(503) as address:
            store_at(address)
            with pytest.raises(Unreachable, match=r"^s3://plays/set: cannot be read \("):
                ParquetFolder("s3://plays/set").inputs()

    def test_one_that_denies(self, store_at):
        with answering(403) as address:
            store_at(address)
            with pytest.raises(UserError, match=r"^s3://plays/set: cannot be read \(") as raised:
                ParquetFolder("s3://plays/set").inputs()
        assert not isinstance(raised.value, Unreachable)

    def test_one_that_is_gone(self, store_at):
        with answering(503) as address:
            pass
        store_at(address)
        with pytest.raises(Unreachable, match=r"^s3://plays/set: cannot be read \("):
            ParquetFolder("s3://plays/set").inputs()
        with pytest.raises(Unreachable, match=r"^s3://plays/set: an Iceberg table, whose store does not answer"):
            live_files(remote_folder("s3://plays/set"), ICEBERG, ["v1.metadata.json"])


class TestUrls:
    """Addresses that are refused before any request."""

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("s3://me:secret@bucket/x", "holds a password"),
            ("hdfs://host/x", "hdfs:// is not read"),
            ("s3:///x", "names no bucket"),
        ],
    )
    def test_refused(self, url, words):
        with pytest.raises(UserError, match=words) as raised:
            ParquetFolder(url)
        assert "secret" not in str(raised.value)

    def test_a_library_that_is_not_there(self, monkeypatch):
        monkeypatch.setattr(remote, "find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"takes gcsfs: pip install 'towers-rec\[gs\]'"):
            ParquetFolder("gs://bucket/x")

    def test_a_file_of_another_data_set(self):
        with pytest.raises(UserError, match=r"data\.root=s3://bucket/x\.parquet: this is read from a disk alone"):
            TimedEvents("s3://bucket/x.parquet")


@pytest.mark.slow
def test_rows_of_listeners_to_forget_are_counted(s3, raw):
    url = put(s3, raw)
    found = dict(rows_in(raw_folder(url), ["ann", "cy"]))
    assert found == dict(rows_in(raw, ["ann", "cy"]))
    assert found["events"] == len(raw_set.ANN) + len(raw_set.CY)
    first, second = raw_rows([url, "s3://nobody/set"], ["ann", "cy"])
    assert first.startswith(f"{url} is yours and still names them: {found['events']} of events/")
    assert second.startswith(
        "s3://nobody/set is your raw data and could not be read: s3://nobody/set/events: cannot be read"
    )
