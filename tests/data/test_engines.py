"""Both engines give the same: rule by rule on odd values, and a whole store byte for byte.

All that needs Spark stands here, so that one JVM does for it.
"""

import datetime as dt
import shutil
import threading
from decimal import Decimal
from socket import gethostname
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.data import raw
from towers.data.engines.duckdb_engine import DuckDbEngine
from towers.data.engines.engine import Unreadable
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.tables import SQL
from towers.disk import is_full
from towers.errors import UserError

# `.ci/run` installs Java, so that nothing skips there; elsewhere a laptop may well be without.
needs_java = pytest.mark.skipif(
    shutil.which("java") is None,
    reason="there is no Java, which Spark runs on (apt-get install openjdk-17-jre-headless)",
)
pytestmark = [pytest.mark.unhooked, needs_java]  # the unhooked call of pytest gives a file to one process

SETTINGS = {
    "spark.sql.shuffle.partitions": 1,
    "spark.sql.adaptive.enabled": False,
    "spark.sql.codegen.wholeStage": False,
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
"""Number of rows. It is small, as most of the time is Spark's and the JVM's preparation for many."""
MAX = 2**63 - 1


@pytest.fixture(scope="module", autouse=True)
def spark(tmp_path_factory):
    """The one Spark session, which engines find there."""
    from towers.data.engines.spark_session import session

    folder = tmp_path_factory.mktemp("spark")
    with session("local[1]", 1.0, SETTINGS, folder, folder / "spill") as started:
        yield started


@pytest.fixture(params=["duckdb", "spark"])
def database(request, tmp_path):
    with engine_of(request.param).open(tmp_path, None) as opened:
        yield opened


def engine_of(name):
    from towers.data.engines.spark_engine import SparkEngine

    return DuckDbEngine() if name == "duckdb" else SparkEngine()


def by_both(folder, ask):
    """Returns the results of `ask` on a database of DuckDB's and on one of Spark's."""
    found = []
    for name in ("duckdb", "spark"):
        (folder / name).mkdir()
        with engine_of(name).open(folder / name, None) as opened:
            found.append(ask(opened))
    return found


FLOATS = [None, np.nan, np.inf, -np.inf, 0.5, 1.5, 2.5, -2.5, -0.0, 1e300, 2.0**63, -(2.0**63), 2.0**63 - 1024, 7.0]
TEXTS = [None, "", "a", "ä", "a\0b", "𝄞", "it's", "Z", "\\", "\n", "null", " a", "aa", "z"]
TIMES = [None, 0, -1, 1, MAX, -MAX, 10**15, -(10**17), 1_767_225_600_000_000, 5, 6, 7, 8, 9]
LISTS = [None, [], ["a"], [None], ["a", None], [None, "a"], ["a", "b"], ["ab"], ["b", "a"], [""], ["a", ""], ["", "a"]]
LISTS += [["z"], ["z"]]
DECIMALS = [None, *(Decimal(each) for each in ("0.5", "1.5", "2.5", "-0.5", "-2.5", "0.4", "7.0"))] + [Decimal(9)] * 6
VALUES = pa.table(
    {
        "row": pa.array(range(len(FLOATS))),
        "number": pa.array(FLOATS, pa.float64()),
        "text": pa.array(TEXTS, pa.string()),
        "time": pa.array(TIMES, pa.timestamp("us", "UTC")),
        "genres": pa.array(LISTS, pa.list_(pa.string())),
        "digits": pa.array(DECIMALS, pa.decimal128(9, 1)),
    }
)
EXPRESSIONS = {
    "whole_number_of_a_float": 'TRY_CAST(ROUND_EVEN(CAST("number" AS DOUBLE), 0) AS BIGINT)',
    "whole number of a decimal": 'TRY_CAST(ROUND("digits", 0) AS BIGINT)',
    "finite_number": "ISFINITE(number)",
    "microseconds_since_1970": "EPOCH_US(time)",
    "lower_half_of_md5": "MD5_NUMBER_LOWER(text)",
    "no session": "COALESCE(MD5_NUMBER_LOWER(text), 0)",
    "text in quotes": "'unknown ''' || text || ''''",
    "text that looks like a setting or an escape": "'x${spark.app.name}y \\n ' || text",
    "day": 'FLOOR("row" / 3)',
    "entry_of_a_list": "LIST_CONTAINS(genres, 'a')",
    "within years": "CASE WHEN CAST(time AS DATE) BETWEEN DATE '0001-01-01' AND DATE '9999-12-31' THEN time END",
    "struct": "{'text': text, 'row': \"row\"}",
    "cut to 32 bits": 'CAST(LEAST(COALESCE("row" * 1000000000, -1), 2147483647) AS INTEGER)',
    "texts of numbers": "CAST(genres AS VARCHAR[])",
}
"""Expressions of the SQL files and `raw.py`, by the dialect's rule or by their use."""


@pytest.fixture(scope="module")
def turned(tmp_path_factory):
    """Returns all expressions by both engines."""
    shown = ", ".join(f'{sql} AS "{name}"' for name, sql in EXPRESSIONS.items())

    def ask(opened):
        opened.put("odd", VALUES)
        opened.view("turned", f'SELECT "row", {shown} FROM odd')
        return opened.table("turned", ("row",))

    return by_both(tmp_path_factory.mktemp("expressions"), ask)


class TestExpressions:
    @pytest.mark.parametrize("name", EXPRESSIONS)
    def test_values_and_types(self, turned, name):
        ours, sparks = (rows[name] for rows in turned)
        assert ours.type == sparks.type
        assert ours.to_pylist() == sparks.to_pylist()

    def test_they_are_what_they_are_to_be(self, turned):
        """The expected numbers are written here, since both engines could be wrong in the same way."""
        rows = {name: turned[1][name].to_pylist() for name in turned[1].column_names}
        assert rows["whole_number_of_a_float"] == [None] * 4 + [0, 2, 2, -2, 0, None, None, -(2**63), 2**63 - 1024, 7]
        assert rows["whole number of a decimal"] == [None, 1, 2, 3, -1, -3, 0, 7, *[9] * 6]
        assert rows["finite_number"] == [None, *[False] * 3, *[True] * 10]
        assert rows["microseconds_since_1970"][:6] == [None, 0, -1, 1, None, None]
        assert rows["lower_half_of_md5"][2] == int.from_bytes(
            bytes.fromhex("0cc175b9c0f1b6a831c399e269772661")[8:], "little"
        )


def test_what_is_hashed_alike(tmp_path):
    """Rows are equal where DuckDB says so: a null is no absent value, a list differs from other lists of the same
    texts, and a null list equals an empty one.
    """
    values = [None, "a", "b", ""]
    pairs = [(one, other, some) for one in values for other in values for some in LISTS]
    columns = [pa.array(column) for column in zip(*pairs, strict=True)]
    rows = pa.table([*columns, pa.array(range(len(pairs)))], ["chosen_id", "shelf", "candidate_ids", "row"])

    def ask(opened):
        opened.put("shown", rows)
        opened.view(
            "hashed", 'SELECT "row", HASH(chosen_id, shelf, CAST(candidate_ids AS VARCHAR[])) AS row_hash FROM shown'
        )
        return opened.table("hashed", ("row",))["row_hash"].to_pylist()

    ours, sparks = by_both(tmp_path, ask)
    distinct = len({(one, other, str(some or [])) for one, other, some in pairs})
    assert len({*zip(ours, sparks, strict=True)}) == len({*ours}) == len({*sparks}) == distinct


def test_order_is_by_bytes_with_nulls_last(database):
    database.put("odd", VALUES)
    found = database.table("odd", ("text", "row"))["text"].to_pylist()
    assert found == [*sorted((text for text in TEXTS if text is not None), key=str.encode), None]


def test_batches(database):
    values = VALUES.drop(["number"])  # one of them NaN, which equals no value
    database.put("odd", values)
    batches = list(database.batches("odd", ("row",), 5, where={"row": 3}))
    assert [batch["row"].to_pylist() for batch in batches if len(batch)] == [[3]]
    some = list(database.batches("odd", ("row",), 5))
    assert max(map(len, some)) <= 5
    assert pa.Table.from_batches(some).combine_chunks() == values
    assert database.count("odd") == len(values)


class TestManyPartitions:
    def test_rows_are_in_order(self, tmp_path):
        with engine_of("spark").open(tmp_path, None) as opened:
            opened._spark.conf.set("spark.sql.shuffle.partitions", 3)
            numbers = [None if number % 7 == 3 else number * 37 % 101 for number in range(100)]
            opened.put("many", pa.table({"number": numbers, "row": pa.array(range(100))}))
            assert len([*opened._result("many", ("number", "row"), {}).glob("part-*.parquet")]) >= 2
            found = opened.table("many", ("number", "row"))["number"].to_pylist()
        assert found == [*sorted(number for number in numbers if number is not None), *[None] * numbers.count(None)]

    def test_files_are_in_order_of_their_numbers(self, tmp_path):
        from towers.data.engines.spark_database import parts_in_order

        names = ["part-00002-a.snappy.parquet", "part-99999-a.snappy.parquet", "part-100000-a.snappy.parquet"]
        for name in reversed(names):
            (tmp_path / name).touch()
        assert [path.name for path in parts_in_order(tmp_path)] == names


def test_a_cluster_whose_paths_are_of_another_file_system(spark, tmp_path):
    """Files are read and written by URIs, since a bare path is one of the cluster's default file system: here one that
    does not answer.
    """
    hadoop, name = spark.sparkContext._jsc.hadoopConfiguration(), "fs.defaultFS"
    before = hadoop.get(name)
    hadoop.set(name, "hdfs://localhost:1")
    path = raw_set.write_part(tmp_path, "events", raw_set.event_table(raw_set.EVENTS[:2]))
    script = tmp_path / "made.sql"
    script.write_text("CREATE TABLE made AS SELECT user_id FROM events")
    try:
        with engine_of("spark").open(tmp_path, None) as opened:
            opened.scan("events", [path], raw_set.EVENT_SCHEMA.names)
            opened.run(script)
            found = opened.table("made", ("user_id",))["user_id"].to_pylist()
    finally:
        hadoop.set(name, before)
    assert found == sorted(event[0] for event in raw_set.EVENTS[:2])


def test_what_a_killed_process_left_in_the_spill_goes(tmp_path):
    (tmp_path / "folder").mkdir()
    left = tmp_path / f"spill/.spark-{gethostname()}.{2**22 + 1}.partial"
    left.mkdir(parents=True)
    with engine_of("spark").open(tmp_path / "folder", tmp_path / "spill"):
        assert not left.exists()
    assert not [*(tmp_path / "spill").iterdir()]


def test_texts_of_uuids():
    from towers.data.engines.spark_files import uuid_texts

    values = uuids(5, *range(2**127, 2**127 + 9), None, 0, 2**128 - 1).storage[1:]
    assert uuid_texts(values).to_pylist() == [
        None if each is None else str(UUID(bytes=each)) for each in values.to_pylist()
    ]
    uuid_texts(values).validate(full=True)
    assert uuid_texts(values[:0]).to_pylist() == []


def uuids(*numbers):
    values = [None if number is None else UUID(int=number).bytes for number in numbers]
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array(values, pa.binary(16)))


NS = [0, 1_499, 1_500, -1_499, -1_500, -500, MAX, -MAX, None, 1_767_225_600_000_000_500]
ODD_FILES = {
    "a b.parquet": {
        "user_id": pa.array(["ann", "", "z"]), "content_id": pa.array(["a1", None, "x"]).dictionary_encode(),
        "timestamp": pa.array([0, 10**15, None], pa.timestamp("ms")), "played_ms": pa.array([2.5, np.nan, 1e30]),
    },
    "[1]*%20?é.parquet": {
        "user_id": pa.array([7, 2**64 - 1], pa.uint64()), "content_id": uuids(7, None),
        "timestamp": pa.array([1_767_225_600, 5], pa.timestamp("s", "Europe/Oslo")),
        "played_ms": pa.array([Decimal("2.5"), Decimal("-0.5")]), "context": pa.nulls(2),
    },
    "day=1/part.parquet": {
        "user_id": pa.array(["n"] * len(NS)), "content_id": pa.array(range(len(NS)), pa.int8()),
        "timestamp": pa.array(NS, pa.timestamp("ns")), "played_ms": pa.array([2**40] * len(NS)),
        "extra": pa.nulls(len(NS)),
    },
    "day=1/zone.parquet": {
        "user_id": pa.array(["n"] * len(NS)), "content_id": pa.array(range(len(NS))),
        "timestamp": pa.array(NS, pa.timestamp("ns", "UTC")), "action": pa.array(["hum"] * len(NS), pa.large_string()),
    },
    "a:b.parquet": {
        "user_id": pa.array(["c"]), "content_id": pa.array(["x"]),
        "timestamp": pa.array([5], pa.timestamp("us", "UTC")),
    },
    "empty.parquet": {},
}  # fmt: skip
ODD_USERS = {
    "a.parquet": {
        "user_id": pa.array(["ann", "n", "ann", None]), "deleted": pa.array([None, False, None, True]),
        "born": pa.array([dt.date(1500, 2, 28), dt.date(9999, 12, 31), dt.date(1500, 2, 28), None]),
        "age": pa.array([1, -1, 1, None], pa.int8()), "say `x`.y z": pa.array([b"a", None, b"a", b"c"]),
        "joined": pa.array([1_500, -1, 1_500, None], pa.timestamp("ns")),
        "height": pa.array([1.5, np.nan, 1.5, 0.0], pa.float32()), "none": pa.nulls(4), "code": uuids(1, None, 1, 2),
        "wakes": pa.array([dt.time(7, 30), None, dt.time(7, 30), None]),
        "half": pa.array(np.array([1.5, 2, 1.5, 0], np.float16)),
        "long": pa.array([Decimal(1)] * 4, pa.decimal256(60, 2)),
    },
    "b.parquet": {
        "user_id": pa.array(["n", "z"]), "age": pa.array([2**32, 3], pa.uint64()),
        "born": pa.array(TIMES[4:6], pa.timestamp("us")), "genres": ["rock", None], "_metadata": ["m", "n"],
        "naps": pa.array([1_499, 86_399_999_999_999], pa.time64("ns")),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd [1]")
    for table, files in (("events", ODD_FILES), ("users", ODD_USERS)):
        for name, columns in files.items():
            path = folder / table / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), path)
    linked = {"user_id": ["l"], "content_id": ["x"], "timestamp": pa.array([6], pa.timestamp("us", "UTC"))}
    pq.write_table(pa.table(linked), folder / "linked.parquet")
    (folder / "events/link.parquet").symlink_to(folder / "linked.parquet")
    times = "(VALUES ('infinity'::TIMESTAMPTZ), ('-infinity'), ('0044-03-15 (BC)')) AS rows(timestamp)"
    path = str(folder / "events/endless.parquet").replace("'", "''")
    duckdb.sql(f"COPY (SELECT 'e' AS user_id, 'x' AS content_id, timestamp FROM {times}) TO '{path}'")
    old = pa.table({"user_id": ["i"], "content_id": ["x"], "timestamp": pa.array([-1], pa.timestamp("ns"))})
    pq.write_table(old, folder / "events/int96.parquet", use_deprecated_int96_timestamps=True)
    return folder


def shown(column):
    """Returns values as text, which also tells times that Python cannot hold from values that are not a number."""
    kind = pa.int64() if pa.types.is_timestamp(column.type) else column.type
    return [repr(value) for value in column.cast(kind).to_pylist()]


class TestRawFiles:
    """Files of all types and names are read alike."""

    @pytest.mark.parametrize("table", ["events", "users"])
    def test_alike(self, odd_files, table, tmp_path, feature_settings):
        tables = ParquetFolder(str(odd_files)).tables(odd_files)
        extra = raw.columns_to_keep(tables, feature_settings)[1:] if table == "users" else ()

        def ask(opened):
            raw.select_raw(tables, table, extra).define(opened, "rows")
            return opened.table("rows", ("filename", "file_row_number"))

        ours, sparks = by_both(tmp_path, ask)
        assert ours.schema == sparks.schema
        for name in ours.column_names:
            if name != "row_hash":
                assert shown(ours[name]) == shown(sparks[name]), name
        hashes = [rows["row_hash"].to_pylist() for rows in (ours, sparks)]
        assert len({*zip(*hashes, strict=True)}) == len({*hashes[0]}) == len({*hashes[1]})

    def test_a_damaged_file_is_named(self, tmp_path, database):
        path = raw_set.write_part(tmp_path, "events", raw_set.event_table(raw_set.EVENTS))
        content = bytearray(path.read_bytes())
        content[4:400] = bytes(396)
        path.write_bytes(content)
        database.scan("events", [path], raw_set.EVENT_SCHEMA.names)
        with pytest.raises(Unreadable):
            database.table("events", ("timestamp",))
        assert database.fault_of(path) is not None
        tables = ParquetFolder(str(tmp_path)).tables(tmp_path)
        message = str(raw.unreadable(tables, "reason", database.fault_of))
        assert message.startswith(f"{path}: damaged (")

    def test_a_file_of_types_that_spark_lacks_is_no_damaged_one(self, tmp_path, database):
        path = raw_set.write_part(tmp_path, "events", pa.table({"user_id": uuids(1, None), "content_id": ["a", "b"]}))
        database.scan("events", [path], ["user_id", "content_id"])
        assert database.fault_of(path) is None

    def test_text_that_is_not_utf_8(self, tmp_path, database):
        text = pa.array([b"a", b"\xe9t\xe9"]).view(pa.string())
        path = raw_set.write_part(tmp_path, "contents", pa.table({"content_id": ["a", "b"], "title": text}))
        database.scan("contents", [path], ["content_id", "title"])
        with pytest.raises(Unreadable):
            database.table("contents", ("content_id",))


def odd_raw(folder):
    """The hand-written set with faults and duplicates in all tables, impressions, and names that are patterns."""
    raw_set.write_raw(folder)
    again = [
        *raw_set.ANN[:3],
        ("ann", "a1", raw_set.at(0), "play", 1, "home"),
        (None, "a1", raw_set.at(1), "play", 1, None),
    ]
    faults = [("ben", "a1", raw_set.at(2), "hum", 1, None), ("ben", None, raw_set.at(2), "play", -1, None)]
    raw_set.write_part(
        folder, "events", raw_set.event_table([*again, *faults, ("ben", "a1", None, "like", None, "z")]), 2
    )
    path = folder / "events/day=[1]/a b%20.parquet"
    path.parent.mkdir()
    columns = {"user_id": pa.array([4, 4, 5], pa.int16()), "content_id": uuids(1, 2, 1), "session_id": ["s", "t", None],
               "timestamp": pa.array([raw_set.at(1), raw_set.at(40), raw_set.at(22)], pa.timestamp("ns", "UTC")),
               "played_ms": [2.5, 70_000.5, np.inf],
               "device": pa.array(["tv", "tv", "car"]).dictionary_encode()}  # fmt: skip
    pq.write_table(pa.table(columns), path)
    unlike = [{**raw_set.CONTENTS[0], "title": "other"}, {"content_id": None}, {"content_id": "q", "kind": "?"}]
    raw_set.write_part(folder, "contents", raw_set.content_table([*raw_set.CONTENTS[:2], *unlike]), 1)
    lists = [
        {"playlist_id": "p1", "title": "E", "content_ids": ["a2", None]}, {"playlist_id": "p3", "content_ids": None},
        {"playlist_id": "a1", "content_ids": []}, {"playlist_id": "p4", "owner_id": "cy", "content_ids": ["a1"]},
    ]  # fmt: skip
    raw_set.write_part(folder, "playlists", pa.Table.from_pylist(lists), 1)
    raw_set.write_part(
        folder, "users", pa.table({"user_id": ["ann", "new"], "age": pa.array([7, None], pa.uint8())}), 1
    )
    write_shown(folder, 0)
    return folder


def write_shown(folder, part):
    row = {"request_id": "r1", "user_id": "ann", "timestamp": raw_set.at(3), "candidate_ids": ["a1", None],
           "chosen_id": "a1", "slot": 0, "propensity": 0.5, "played_ms": 5, "clicked": True}  # fmt: skip
    changes = [{}, {}, {"clicked": False}, {"slot": 1}, {"user_id": "ben"}, {"request_id": None}, {"propensity": 2.0},
               {"slot": None}, {"slot": None}, {"chosen_id": "b1"},
               {"request_id": f"r{part + 2}", "user_id": "cy"}]  # fmt: skip
    rows = pa.Table.from_pylist([{**row, **change} for change in changes], IMPRESSION_SCHEMA)
    raw_set.write_part(folder, "impressions", rows, part)


def prepare(folder, stores, engine, *overrides):
    """Runs the real command and returns the version's folder."""
    from towers.commands import prepare as command
    from towers.config.composing import compose

    spans = ("data.split.validation_start=2026-01-25", "data.split.test_start=2026-02-04")
    limits = ("data.max_rejected_fraction=1", "data.max_duplicate_fraction=1", "data.max_unlisted_fraction=1")
    paths = (f"data.root='{folder}'", f"paths.stores='{stores}'")
    store = command.run(
        compose("prepare", ["data=parquet", f"data/engine={engine}", *paths, *spans, *limits, *overrides])
    )
    assert store is not None
    return store.folder


def everything(folder):
    """Returns the bytes of a store and of its log, without the digests of raw files, which record when these were
    read.
    """
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "digests.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_same(stores):
    ours, sparks = everything(stores / "duckdb"), everything(stores / "spark")
    assert ours.keys() == sparks.keys()
    assert [name for name in ours if ours[name] != sparks[name]] == []


@pytest.fixture
def one_key(monkeypatch):
    """Sets the random key that hashes forgotten listeners to a fixed one."""
    monkeypatch.setattr("secrets.token_bytes", bytes)


@pytest.mark.slow
def test_a_store_is_the_same_to_the_byte(tmp_path, one_key, capsys):
    folder = odd_raw(tmp_path / "odd")
    printed = {}
    stores = tmp_path / "a [1]{b}*"
    for name in ("duckdb", "spark"):
        prepare(folder, stores / name, name)
        printed[name] = capsys.readouterr().out.replace(str(stores / name), "")
    assert_same(stores)
    # Without durations.
    told = [
        [line for line in text.splitlines() if not line[:2].isdigit() and not line.startswith("decoded")]
        for text in printed.values()
    ]
    assert len(told[0]) > 10
    assert told[0] == told[1]
    prepare(folder, stores / "duckdb", "spark")
    assert "nothing to prepare" in capsys.readouterr().out


@pytest.mark.slow
def test_nights(tmp_path, one_key):
    """A log grows, a listener leaves and comes back, and files are read anew."""
    folder = odd_raw(tmp_path / "odd")
    forget = tmp_path / "forget.txt"
    forget.write_text("ben\n")

    def night(*overrides):
        for name in ("duckdb", "spark"):
            prepare(folder, tmp_path / name, name, *overrides)
        assert_same(tmp_path)

    night()
    raw_set.write_part(folder, "events", raw_set.event_table([("ben", "a2", raw_set.at(41), "play", 90_000, "car")]), 7)
    write_shown(folder, 1)
    night()
    night(f"data.forget={forget}")
    raw_set.write_part(folder, "events", raw_set.event_table([("ben", "a2", raw_set.at(42), "play", 90_000, "car")]), 8)
    write_shown(folder, 2)
    night()
    (folder / "events/part-0.parquet").unlink()
    night()


class TestFailures:
    def test_without_pyspark(self, monkeypatch):
        from towers.data.engines import spark_engine

        monkeypatch.setattr(spark_engine, "find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"pip install 'towers-rec\[spark\]'"):
            spark_engine.SparkEngine()

    def test_without_java(self, monkeypatch, tmp_path):
        from towers.data.engines import spark_session

        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        with pytest.raises(UserError, match="needs Java, 17 or later"):
            spark_session._check_java()

    def test_no_memory(self):
        with pytest.raises(UserError, match=r"data\.engine\.memory_gb=0"):
            type(engine_of("spark"))(memory_gb=0.0)

    def test_a_job_that_is_stopped(self, spark):
        from towers.data.engines.spark_session import told

        threading.Timer(1.0, spark.sparkContext.cancelAllJobs).start()
        with pytest.raises(UserError, match=r"^data/engine=spark: .*cancelled") as raised:
            told(spark.range(10**12).selectExpr("SUM(id)").collect)()
        assert "\n" not in str(raised.value)
        assert raised.value.__context__ is None  # whose text would need the JVM, which is gone

    def test_a_full_disk(self, spark):
        from towers.data.engines.spark_session import told

        full = "RAISE_ERROR('java.io.IOException: No space left on device')"
        with pytest.raises(OSError, match="No space left") as raised:
            told(spark.sql(f"SELECT {full}").collect)()
        assert is_full(raised.value)

    def test_sql_that_spark_does_not_take_is_a_bug(self, spark):
        from pyspark.errors import AnalysisException

        from towers.data.engines.spark_session import told

        with pytest.raises(AnalysisException):
            told(spark.sql)("SELECT nothing_of_this_name")


def test_only_tables_and_views():
    from towers.data.engines.dialect import statements

    assert [name for name, _, _ in statements((SQL / "rows.sql").read_text())][:2] == ["new_users", "new_contents"]
    with pytest.raises(ValueError, match="only tables and views"):
        list(statements("INSERT INTO a SELECT 1"))


def test_a_store_of_azures_is_refused():
    from towers.data.engines.spark_database import _located
    from towers.data.sources.remote import RemotePath

    assert _located(RemotePath("s3://bucket/a b.parquet", None, "")) == "s3a://bucket/a b.parquet"
    with pytest.raises(UserError, match=r"^abfs://box/a\.parquet: Spark needs the storage account .*duckdb$"):
        _located(RemotePath("abfs://box/a.parquet", None, ""))
