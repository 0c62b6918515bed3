"""Milvus Lite and LanceDB, in folders of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import lancedb
import numpy as np
import pyarrow.parquet as pq
import pytest
from milvus_lite.adapter.grpc.server import start_server_in_thread
from milvus_lite.server_manager import server_manager_instance
from pymilvus import DataType, MilvusClient

from tests.answering_store import answering
from tests.contracts.sink import WITHHELD, Engine, SinkContract, foreign_rows, quietly
from tests.publishing.sink_export import sink_export
from towers.errors import Unreachable, UserError
from towers.publishing.sinks.lancedb import LanceSink
from towers.publishing.sinks.milvus import MilvusSink
from towers.publishing.sinks.rows import content_rows, user_rows
from towers.publishing.sinks.sink import NoSink

SHARED = {"prefix": "towers", "batch_size": 64, "keep": 2, "dim": None}


class MilvusReader:
    """Reads by aliases alone."""

    def __init__(self, uri):
        self._uri = uri

    @property
    def client(self):
        return MilvusClient(self._uri)

    def version(self):
        collections = [
            self.client.describe_alias(f"towers_{table}")["collection_name"] for table in ("contents", "users")
        ]
        versions = {self.client.describe_collection(name)["properties"]["towers.version"] for name in collections}
        (version,) = versions
        return version

    def search(self, vector, k, filtered=""):
        self.client.load_collection("towers_contents")  # once, for a file that was opened anew
        (hits,) = self.client.search("towers_contents", data=[vector], limit=k, filter=filtered)
        return [(hit["content_id"], hit["distance"]) for hit in hits]

    def user(self, user_id):
        (row,) = self.client.get("towers_users", ids=[user_id], output_fields=["vector", "num_events", "as_of"])
        assert row["as_of"] == "2026-01-01T12:00:00+00:00"
        return row

    def tables(self):
        return sorted(self.client.list_collections())

    def make_foreign_table(self, name):
        self.client.create_collection(name, dimension=4)

    def facts(self):
        name = self.client.describe_alias("towers_contents")["collection_name"]
        properties = self.client.describe_collection(name)["properties"]
        return {key.removeprefix("towers."): text for key, text in properties.items()}


class LanceReader:
    """Reads the tables that the one row of towers_current names."""

    def __init__(self, uri):
        self._uri = uri

    @property
    def database(self):
        return lancedb.connect(self._uri)

    def current(self):
        (row,) = self.database.open_table("towers_current").to_arrow().to_pylist()
        return row

    def version(self):
        return self.current()["version"]

    def search(self, vector, k, filtered=""):
        query = self.database.open_table(self.current()["contents"]).search(vector).distance_type("dot").limit(k)
        if filtered:
            query = query.where(filtered)
        return [
            (hit["content_id"], 1 - hit["_distance"]) for hit in query.select(["content_id", "_distance"]).to_list()
        ]

    def user(self, user_id):
        query = self.database.open_table(self.current()["users"]).search().where(f"user_id = '{user_id}'")
        (row,) = query.limit(2).to_list()
        return row

    def tables(self):
        return sorted(name for name in self.database.list_tables().tables if name != "towers_current")

    def make_foreign_table(self, name):
        self.database.create_table(name, data=foreign_rows())

    def facts(self):
        metadata = self.database.open_table(self.current()["contents"]).schema.metadata
        return {key.decode().removeprefix("towers."): text.decode() for key, text in metadata.items()}


def milvus(folder):
    uri = str(folder / "milvus.db")
    return Engine(MilvusSink, {"uri": uri, "token": "", **SHARED}, MilvusReader(uri))


def lance(folder):
    uri = str(folder / "lance")
    return Engine(LanceSink, {"uri": uri, "min_indexed": 100, **SHARED}, LanceReader(uri))


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    return [sink_export(folder, f"20260{month}01-abc") for month in (1, 2, 3)]


@pytest.fixture(scope="module")
def filled_milvus(exports, tmp_path_factory):
    """A filled Milvus that is reached by a port, as a cluster is."""
    server, database, port = start_server_in_thread(str(tmp_path_factory.mktemp("milvus")), port=0)
    uri = f"http://127.0.0.1:{port}"
    engine = Engine(MilvusSink, {"uri": uri, "token": "root:Milvus", **SHARED}, MilvusReader(uri))
    engine.write(exports[0])
    yield engine
    server.stop(grace=0)
    database.close()


@pytest.fixture(scope="module")
def filled_lance(exports, tmp_path_factory):
    engine = lance(tmp_path_factory.mktemp("lance"))
    engine.write(exports[0])
    return engine


class TestMilvus(SinkContract):
    filters: ClassVar = {
        "tracks": 'kind == "track"',
        "clean": "explicit is null or explicit == false",
        "folk": 'array_contains(genres, "folk")',
        "cold": "is_cold == true",
        "since_2010": 'release_date >= "2010-01-01"',
        "released": '(release_date is null or release_date <= "2009-12-31")',
        "not_withheld": f"content_id not in {json.dumps(WITHHELD)}",
    }

    @pytest.fixture
    def engine(self, tmp_path):
        yield milvus(tmp_path)
        server_manager_instance.release_all()

    @pytest.fixture
    def filled(self, filled_milvus):
        return filled_milvus

    def close(self, engine):
        server_manager_instance.release_all()

    def test_says_what_it_is(self, filled):
        told = filled.reader.client.describe_collection("towers_contents")
        assert told["properties"]["towers.space_id"] == "space"
        assert told["properties"]["towers.version"] == "20260101-abc"

    def test_a_version_that_another_alias_points_to_stays(self, engine, exports):
        engine.write(exports[0])
        engine.reader.client.create_alias("towers_contents_20260101_abc", "of_somebody_else")
        for export in exports[1:]:
            engine.write(export)
        assert "towers_contents_20260101_abc" in engine.reader.tables()
        assert "towers_users_20260101_abc" not in engine.reader.tables()

    def test_rows_that_were_lost_are_found(self, engine, exports):
        engine.write(exports[0])
        engine.reader.client.delete("towers_contents_20260101_abc", filter='content_id == "it\'s 5"')
        with pytest.raises(UserError, match="239 rows arrived of 240"):
            engine.write(exports[0])

    def test_an_alias_whose_name_is_a_collections(self, engine, exports):
        engine.reader.make_foreign_table("towers_users")
        with pytest.raises(UserError, match=r"^sink\.uri=.*milvus\.db: Milvus refuses \(.*towers_users"):
            engine.write(exports[0])

    def test_no_server(self, exports):
        settings = {"uri": "http://me:secret@127.0.0.1:1", "token": "", **SHARED}
        with pytest.raises(Unreachable, match=r"^sink\.uri=http://127\.0\.0\.1:1: cannot be opened") as refusal:
            MilvusSink(**settings).write(exports[0], quietly)
        assert "secret" not in str(refusal.value)
        assert "\n" not in str(refusal.value)

    def test_a_file_that_another_process_has_open(self, engine, exports):
        hold = f"MilvusLite({engine.settings['uri']!r}); print(1, flush=True); input()"
        program = f"from milvus_lite.db import MilvusLite; {hold}"
        holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdout.readline()
        try:
            with pytest.raises(UserError, match=r"cannot be opened .*one process at a time"):
                engine.write(exports[0])
        finally:
            holder.communicate(b"\n")

    def test_types_of_fields(self, filled):
        fields = filled.reader.client.describe_collection("towers_contents")["fields"]
        types = {field["name"]: field["type"] for field in fields}
        assert types["content_id"] == types["release_date"] == DataType.VARCHAR
        assert types["genres"] == types["artist_ids"] == DataType.ARRAY
        assert types["duration_ms"] == DataType.INT64
        assert types["explicit"] == types["is_cold"] == DataType.BOOL


class TestLanceDB(SinkContract):
    filters: ClassVar = {
        "tracks": "kind = 'track'",
        "clean": "explicit IS NOT TRUE",
        "folk": "array_has(genres, 'folk')",
        "cold": "is_cold",
        "since_2010": "release_date >= date '2010-01-01'",
        "released": "(release_date IS NULL OR release_date <= date '2009-12-31')",
        "not_withheld": "content_id NOT IN (" + ", ".join("'" + of.replace("'", "''") + "'" for of in WITHHELD) + ")",
    }

    @pytest.fixture
    def engine(self, tmp_path):
        return lance(tmp_path)

    @pytest.fixture
    def filled(self, filled_lance):
        return filled_lance

    def test_indexed_where_there_are_enough_rows(self, filled):
        current = filled.reader.current()
        indices = filled.reader.database.open_table(current["contents"]).list_indices()
        assert {index.columns[0] for index in indices} == {
            "content_id", "vector", "kind", "language", "explicit", "is_cold", "artist_ids", "genres",
        }  # fmt: skip
        assert filled.reader.database.open_table(current["users"]).list_indices() == []

    def test_says_what_it_is(self, filled):
        table = filled.reader.database.open_table(filled.reader.current()["contents"])
        assert table.schema.metadata[b"towers.space_id"] == b"space"
        assert filled.reader.current()["space_id"] == "space"

    def test_the_folder_that_a_killed_process_left_is_no_table(self, engine, exports):
        half_written = Path(engine.settings["uri"]) / "towers_contents_20260201_abc.lance" / "data"
        half_written.mkdir(parents=True)
        (half_written / ".tmpZze6c").write_text("half a file")
        for export in exports[:2]:
            engine.write(export)
            assert engine.reader.version() == export.manifest["version"]

    def test_a_store_that_does_not_answer(self, monkeypatch):
        """The store is not mistaken for one without tables."""
        with answering(503) as address:
            settings = {"AWS_ENDPOINT": address, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
            for name, value in {**settings, "AWS_ALLOW_HTTP": "true", "OBJECT_STORE_CLIENT_MAX_RETRIES": "0"}.items():
                monkeypatch.setenv(name, value)
            with pytest.raises(Unreachable, match=r"^sink\.uri=s3://plays/lance: the store does not answer \("):
                LanceSink(uri="s3://plays/lance", min_indexed=100, **SHARED).served()

    def test_no_folder_can_be_made(self, exports):
        with pytest.raises(UserError, match=r"^sink\.uri=/proc/nowhere/lance: LanceDB refuses"):
            LanceSink(uri="/proc/nowhere/lance", min_indexed=100, **SHARED).write(exports[0], quietly)


class TestRows:
    def test_contents_of_another_number_than_vectors(self, tmp_path):
        export = sink_export(tmp_path, "1")
        np.save(export.folder / "content_vectors.npy", export.vectors[:-1].copy())
        with pytest.raises(UserError, match=r"contents\.parquet: 240 rows for 239 vectors"):
            content_rows(type(export)(export.folder), 8)

    def test_listeners_of_another_space(self, tmp_path):
        export = sink_export(tmp_path, "1")
        path = export.folder / "user_embeddings" / "part-1.parquet"
        pq.write_table(pq.read_table(path).replace_schema_metadata({"space_id": "other"}), path)
        with pytest.raises(UserError, match=r"part-1\.parquet: space_id other is not the export's space"):
            user_rows(export, 8)

    def test_listeners_of_another_dimension(self, tmp_path):
        export = sink_export(tmp_path, "1")
        export.manifest["dim"] = 4
        with pytest.raises(UserError, match=r"part-0\.parquet: vectors are not of the export's dim 4"):
            user_rows(export, 8)

    @pytest.mark.parametrize("size", [1, 7, 50, 1_000])
    def test_any_batch_gives_every_row_once(self, exports, size):
        for rows in (content_rows(exports[0], 8), user_rows(exports[0], 8)):
            batches = list(rows.batches(size))
            assert max(map(len, batches)) <= size
            ids = [one for batch in batches for one in batch[rows.id_column].to_pylist()]
            assert len(ids) == len(set(ids)) == rows.count
        rows = content_rows(exports[0], 8)
        stacked = np.concatenate([batch["vector"].flatten().to_numpy() for batch in rows.batches(size)])
        np.testing.assert_array_equal(stacked.reshape(-1, 8), exports[0].vectors)


def test_no_sink(exports):
    assert NoSink().write(exports[0], quietly) == NoSink().fill(exports[0], quietly) == NoSink().serve(exports[0]) == ""
    assert NoSink().served() is None
    assert NoSink().holding({"users": ["u1"]}) == {}
    NoSink().forget({"users": ["u1"]}, None, quietly)
