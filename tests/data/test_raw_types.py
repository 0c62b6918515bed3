"""Files of all common tools are read, and parts of different types become one table."""

import datetime as dt
import itertools
from decimal import Decimal
from uuid import UUID

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from tests.data.read_back import histories_by_id
from tests.data.test_raw import rows, tables_of, write

NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
WHEN = pa.array([NOON], pa.timestamp("us", tz="UTC"))
SEVEN = {
    "string": pa.array(["7"]),
    "large string": pa.array(["7"], pa.large_string()),
    "string view": pa.array(["7"], pa.string_view()),
    "dictionary": pa.array(["7"]).dictionary_encode(),
    "dictionary of integers": pa.array([7]).dictionary_encode(),
    "int8": pa.array([7], pa.int8()),
    "int64": pa.array([7]),
    "uint64": pa.array([7], pa.uint64()),
    "decimal": pa.array([Decimal(7)], pa.decimal128(20, 0)),
    "widest decimal": pa.array([Decimal(7)], pa.decimal256(38, 0)),
}
"""The same id, as columns of many types."""
UUIDS = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([UUID(int=7).bytes], pa.binary(16)))
TIMES = {
    **{f"{unit}, {zone}": pa.array([NOON], pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone))
       for unit, zone in itertools.product(("s", "ms", "us", "ns"), ("UTC", "Asia/Tokyo"))},
    **{f"{unit}, naive": pa.array([NOON.replace(tzinfo=None)], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
}  # fmt: skip
"""The same instant; a naive one is in UTC."""


class TestIds:
    @pytest.mark.parametrize("kind", SEVEN)
    def test_one_id_is_one_in_parts_of_two_types(self, tmp_path, kind):
        for other in ("string", "int64", "uint64"):
            write(tmp_path, part="a.parquet", user_id=SEVEN[kind], content_id=SEVEN[other], timestamp=WHEN)
            write(tmp_path, part="b.parquet", user_id=SEVEN[other], content_id=SEVEN[kind], timestamp=WHEN)
            found = rows(tables_of(tmp_path), "events")
            assert found["user_id"].to_pylist() == found["content_id"].to_pylist() == ["7", "7"], other
            assert len(set(found["row_hash"].to_pylist())) == 1, other

    @pytest.mark.parametrize("kind", SEVEN)
    def test_uuids_beside_other_ids(self, tmp_path, kind):
        write(tmp_path, part="a.parquet", user_id=UUIDS, content_id=SEVEN[kind], timestamp=WHEN)
        write(tmp_path, part="b.parquet", user_id=SEVEN[kind], content_id=UUIDS, timestamp=WHEN)
        found = rows(tables_of(tmp_path), "events")
        assert sorted(found["user_id"].to_pylist()) == ["00000000-0000-0000-0000-000000000007", "7"]

    def test_the_largest_of_every_type(self, tmp_path):
        largest = {
            "int64": pa.array([2**63 - 1, -(2**63)]),
            "uint64": pa.array([2**64 - 1, 0], pa.uint64()),
            "decimal": pa.array([Decimal("9" * 38), Decimal("-" + "9" * 38)], pa.decimal128(38, 0)),
        }
        for kind, ids in largest.items():
            write(tmp_path, part=f"{kind}.parquet", user_id=ids, content_id=ids, timestamp=pa.concat_arrays([WHEN] * 2))
        found = rows(tables_of(tmp_path), "events")["user_id"].to_pylist()
        assert sorted(found) == sorted(str(id_) for ids in largest.values() for id_ in ids.to_pylist())


class TestTimes:
    @pytest.mark.parametrize("kind", TIMES)
    def test_one_instant_in_two_types(self, tmp_path, kind):
        write(tmp_path, part="a.parquet", user_id=["u"], content_id=["c"], timestamp=TIMES[kind])
        write(tmp_path, part="b.parquet", user_id=["u"], content_id=["c"], timestamp=WHEN)
        assert rows(tables_of(tmp_path), "events")["timestamp"].to_pylist() == [NOON, NOON]

    @pytest.mark.parametrize("zone", ["UTC", None])
    def test_int96(self, tmp_path, zone):
        times = pa.array([NOON if zone else NOON.replace(tzinfo=None)], pa.timestamp("ns", zone))
        path = write(tmp_path, user_id=["u"], content_id=["c"], timestamp=WHEN)
        pq.write_table(
            pa.table({"user_id": ["u"], "content_id": ["c"], "timestamp": times}),
            path.with_name("spark.parquet"),
            use_deprecated_int96_timestamps=True,
        )
        assert str(pq.ParquetFile(path.with_name("spark.parquet")).schema.column(2).physical_type) == "INT96"
        assert rows(tables_of(tmp_path), "events")["timestamp"].to_pylist() == [NOON, NOON]

    @pytest.mark.parametrize("kind", [kind for kind in TIMES if kind.startswith("ns")])
    def test_a_day_that_nanoseconds_cannot_hold_beside_them(self, tmp_path, kind):
        """Nanoseconds end in 1677 and 2262."""
        write(tmp_path, user_id=["u"], content_id=["c"], timestamp=WHEN)
        write(tmp_path, "contents", part="a.parquet", content_id=["a"], release_date=TIMES[kind])
        write(tmp_path, "contents", part="b.parquet", content_id=["b"], release_date=[dt.date(1588, 1, 1)])
        found = rows(tables_of(tmp_path), "contents").sort_by("content_id")["release_date"].to_pylist()
        assert found == [NOON.date(), dt.date(1588, 1, 1)]

    def test_naive_ones_are_told(self, raw, tmp_path, make_builder, store):
        path = raw / "events/part-0.parquet"
        events = pq.read_table(path)
        place = events.column_names.index("timestamp")
        for unit in ("us", "ns"):
            naive = events["timestamp"].cast(pa.timestamp(unit))
            pq.write_table(events.set_column(place, "timestamp", naive), path)
            builder = make_builder(raw, tmp_path / unit)
            assert histories_by_id(builder.build()[0]) == histories_by_id(store)
            assert any("no time zone and are taken as UTC" in remark for remark in builder.remarks)


LISTS = {
    "element": (pa.array([["a", None]]), True),
    "item": (pa.array([["a", None]]), False),
    "large": (pa.array([["a", None]], pa.large_list(pa.large_string())), True),
    "dictionary": (pa.array([["a", None]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), False),
}


def test_lists_by_the_name_of_their_entries(tmp_path):
    write(tmp_path, user_id=["u"], content_id=["c"], timestamp=WHEN)
    for pair in itertools.product(LISTS, LISTS):
        for part, kind in enumerate(pair):
            path = write(tmp_path, "contents", part=f"{part}.parquet", content_id=["c"])
            lists, is_compliant = LISTS[kind]
            listed = pa.table({"content_id": ["c"], "genres": lists})
            pq.write_table(listed, path, use_compliant_nested_type=is_compliant)
        assert rows(tables_of(tmp_path), "contents")["genres"].to_pylist() == [["a", None]] * 2, pair


BESIDE = {
    "integers": pa.array([1]), "text": pa.array(["x"]), "days": pa.array([dt.date(1588, 1, 1)]), "instants": WHEN,
    "nanoseconds": pa.array([NOON], pa.timestamp("ns", "UTC")), "flags": pa.array([True]), "null": pa.nulls(1),
    "fractions": pa.array([0.5]), "bytes": pa.array([b"x"]), "hours": pa.array([dt.time(1)]),
}  # fmt: skip


@pytest.mark.slow
def test_a_column_beside_the_contract_in_any_two_types(tmp_path):
    write(tmp_path, user_id=["u"], content_id=["c"], timestamp=WHEN)
    for one, other in itertools.combinations(BESIDE, 2):
        write(tmp_path, "users", part="a.parquet", user_id=["a"], extra=BESIDE[one])
        write(tmp_path, "users", part="b.parquet", user_id=["b"], extra=BESIDE[other])
        found = rows(tables_of(tmp_path), "users", ("extra",)).sort_by("user_id")["extra"].to_pylist()
        assert [value is None for value in found] == [one == "null", other == "null"], (one, other)


@pytest.fixture
def prepared(raw, tmp_path, make_builder):
    """The hand-written set after a change of its files, prepared."""

    def prepare():
        return make_builder(raw, tmp_path / "stores").build()[0]

    return prepare


def assert_equal(found, wanted):
    assert histories_by_id(found) == histories_by_id(wanted)
    for name in ("contents", "users", "playlists"):
        assert getattr(found, name).equals(getattr(wanted, name)), name


def parts(raw):
    return [(path, pq.read_table(path)) for path in sorted(raw.rglob("*.parquet"))]


class TestWholeSets:
    """A store does not depend on the way in which its raw data was written."""

    def test_by_duckdb(self, raw, prepared, store):
        for path, _ in parts(raw):
            duckdb.sql(f"COPY (FROM '{path}') TO '{path}.new' (FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd)")
            (path.parent / f"{path.name}.new").rename(path)
        assert_equal(prepared(), store)

    def test_actions_as_an_enum(self, raw, prepared, store):
        path = raw / "events/part-0.parquet"
        actions = ", ".join(f"'{action}'" for action in sorted({event[3] for event in raw_set.EVENTS}))
        query = f"SELECT * REPLACE (action::ENUM({actions}) AS action) FROM '{path}'"
        duckdb.sql(f"COPY ({query}) TO '{path}.new' (FORMAT parquet)")
        (path.parent / f"{path.name}.new").rename(path)
        assert_equal(prepared(), store)

    def test_by_pandas(self, raw, prepared, store):
        for path, part in parts(raw):
            frame = part.to_pandas()
            frame.index += 5
            frame.to_parquet(path)
        assert_equal(prepared(), store)

    def test_columns_in_another_order(self, raw, prepared, store):
        for path, part in parts(raw)[1:]:
            pq.write_table(part.select(part.column_names[::-1]), path)
        assert_equal(prepared(), store)

    def test_without_optional_columns_in_some_parts(self, raw, prepared, store):
        path = raw / "events/part-1.parquet"
        events = pq.read_table(path)
        is_known = [played_ms is not None for played_ms in events["played_ms"].to_pylist()]
        pq.write_table(events.filter(pa.array(is_known)), path)
        others = events.filter(pa.array([not known for known in is_known]))
        pq.write_table(others.drop_columns(["played_ms"]), path.with_name("others.parquet"))
        assert_equal(prepared(), store)

    def test_empty_files_and_row_groups(self, raw, prepared, store):
        for path, part in parts(raw):
            with pq.ParquetWriter(path, part.schema) as writer:
                for piece in (part.slice(0, 0), part.slice(0, 1), part.slice(0, 0), part.slice(1), part.slice(0, 0)):
                    writer.write_table(piece)
            pq.write_table(part.slice(0, 0), path.with_name("no-rows.parquet"))
            pq.ParquetWriter(path.with_name("no-groups.parquet"), part.schema).close()
            pd.DataFrame([]).to_parquet(path.with_name("no-columns.parquet"))
            untyped = pa.table({name: pa.nulls(0) for name in part.column_names})
            pq.write_table(untyped, path.with_name("no-types.parquet"))
        assert_equal(prepared(), store)

    def test_what_a_writer_leaves_beside_the_parts(self, raw, prepared, store):
        for path, _ in parts(raw):
            for name in ("_SUCCESS", f".{path.name}.crc", "_metadata", f"._{path.name}", "_committed_7", ".DS_Store"):
                (path.parent / name).write_bytes(b"no Parquet")
        assert_equal(prepared(), store)
