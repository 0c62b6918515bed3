"""The raw tables as SQL: allowed types, the file that is opened, and ambiguous values."""

import datetime as dt
import zlib
from base64 import b64decode
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from towers.data import raw
from towers.data.engines.duckdb_engine import DuckDbEngine
from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.sources.tables import Origin, RawTables
from towers.data.tables import SQL
from towers.errors import UserError

WHEN = pa.array([dt.datetime(2026, 1, 5, tzinfo=dt.UTC)] * 2, pa.timestamp("us", tz="UTC"))
IDS = {
    "string": pa.array(["7", "x"]),
    "large_string": pa.array(["7", "x"], pa.large_string()),
    "string_view": pa.array(["7", "x"], pa.string_view()),
    "dictionary": pa.array(["7", "x"]).dictionary_encode(),
    "dictionary of large strings": pa.array(["7", "x"], pa.large_string()).dictionary_encode(),
    "int8": pa.array([7, -1], pa.int8()),
    "uint64": pa.array([7, 2**64 - 1], pa.uint64()),
    "decimal of scale 0": pa.array([Decimal(7), Decimal(10) ** 37], pa.decimal128(38, 0)),
    "short decimal": pa.array([Decimal(7), None], pa.decimal128(5, 0)),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([UUID(int=7).bytes, None], pa.binary(16))),
    "null": pa.nulls(2),
}
TEXTS = {
    "int8": ["7", "-1"],
    "uint64": ["7", "18446744073709551615"],
    "decimal of scale 0": ["7", "1" + 37 * "0"],
    "short decimal": ["7", None],
    "uuid": ["00000000-0000-0000-0000-000000000007", None],
    "null": [None, None],
}
NO_IDS = {
    "float": pa.array([7.0, 8.0]),
    "binary": pa.array([b"7", b"x"]),
    "boolean": pa.array([True, False]),
    "decimal with digits behind the point": pa.array([Decimal("7.5"), None], pa.decimal128(5, 1)),
    "decimal of more digits than fit": pa.array([Decimal(7), None], pa.decimal256(60, 0)),
}


def write(folder, table="events", part="part-0.parquet", **columns):
    path = folder / table / part
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def tables_of(folder):
    return ParquetFolder(str(folder)).tables(Path(folder))


def rows(tables, table, extra=()):
    with TemporaryDirectory() as folder, DuckDbEngine().open(Path(folder), None) as database:
        raw.select_raw(tables, table, extra).define(database, "rows")
        return database.table("rows")


class TestIds:
    @pytest.mark.parametrize("kind", IDS)
    def test_what_is_one(self, tmp_path, kind):
        write(tmp_path, user_id=IDS[kind], content_id=IDS["string"], timestamp=WHEN)
        found = rows(tables_of(tmp_path), "events")
        assert found["user_id"].to_pylist() == TEXTS.get(kind, ["7", "x"])

    @pytest.mark.parametrize("kind", NO_IDS)
    def test_what_is_none(self, tmp_path, kind):
        path = write(tmp_path, user_id=NO_IDS[kind], content_id=IDS["string"], timestamp=WHEN)
        with pytest.raises(UserError, match=r"column 'user_id' is .*, must be a string or an integer") as raised:
            rows(tables_of(tmp_path), "events")
        assert str(path) in str(raised.value)

    @pytest.mark.parametrize("kind", [kind for kind in IDS if kind != "uuid"])
    def test_parts_of_other_types_go_together(self, tmp_path, kind):
        write(tmp_path, user_id=IDS["string"], content_id=IDS["string"], timestamp=WHEN)
        write(tmp_path, part="b.parquet", user_id=IDS[kind], content_id=IDS[kind], timestamp=WHEN)
        found = rows(tables_of(tmp_path), "events").sort_by("filename")
        assert found["user_id"].to_pylist() == [*TEXTS.get(kind, ["7", "x"]), "7", "x"]

    @pytest.mark.parametrize("kind", IDS)
    def test_whose_sound_it_is(self, tmp_path, kind):
        write(tmp_path, user_id=IDS["string"], content_id=IDS["string"], timestamp=WHEN)
        write(tmp_path, "contents", content_id=IDS[kind], audio=pa.array(["a.wav", "b.wav"], pa.string_view()))
        found = raw.audio_paths(tables_of(tmp_path))[0]
        assert found == [text for text in TEXTS.get(kind, ["7", "x"]) if text is not None]


LISTS = {
    "list": pa.array([["a"], []]),
    "large list of views": pa.array([["a"], []], pa.large_list(pa.string_view())),
    "list view": pa.array([["a"], []], pa.list_view(pa.string())),
    "fixed-size list": pa.array([["a"], None], pa.list_(pa.string(), 1)),
    "all empty": pa.array([[], []]),
    "null": pa.nulls(2),
    "of integers": pa.array([[1], []]),
    "of a dictionary": pa.array([["a"], []], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
}
FOUND = {"fixed-size list": [["a"], None], "all empty": [[], []], "null": [None, None], "of integers": [["1"], []]}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("is_alone", [True, False])
def test_lists(tmp_path, kind, is_alone):
    write(tmp_path, user_id=IDS["string"], content_id=IDS["string"], timestamp=WHEN)
    write(tmp_path, "contents", part="b.parquet", content_id=IDS["string"], genres=LISTS[kind])
    if not is_alone:
        write(tmp_path, "contents", part="a.parquet", content_id=["y"], genres=[["z"]])
    found = rows(tables_of(tmp_path), "contents").sort_by("filename")["genres"].to_pylist()
    assert found == [*([] if is_alone else [["z"]]), *FOUND.get(kind, [["a"], []])]


class TestPaths:
    """The named file is opened, and no other that its name would match as a pattern."""

    NAMES = ("run[1]", "exp*", "q?", "a[!b]", "it's", 'say "x"', "**", "[", "{x,y}", "Müsik 2026", "%20", "~", "day=1")

    @pytest.mark.parametrize("name", NAMES)
    def test_signs_of_a_pattern(self, tmp_path, name, monkeypatch):
        for sibling in ("run1", "expo", "qa", "ac", "x"):
            write(tmp_path / sibling, user_id=["wrong"], content_id=["a"], timestamp=WHEN[:1])
        path = write(tmp_path / name, part=f"{name} x.parquet", user_id=["right"], content_id=["a"], timestamp=WHEN[:1])
        write(tmp_path / name, part="other.parquet", user_id=["other"], content_id=["a"], timestamp=WHEN[:1])
        found = rows(tables_of(tmp_path / name), "events")
        assert sorted(found["user_id"].to_pylist()) == ["other", "right"]
        assert str(path) in found["filename"].to_pylist()

    def test_a_folder_called_home(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write(tmp_path / "~", user_id=["right"], content_id=["a"], timestamp=WHEN[:1])
        assert rows(tables_of("~"), "events")["user_id"].to_pylist() == ["right"]

    def test_a_backslash(self, tmp_path):
        write(tmp_path / r"a\b", user_id=["right"], content_id=["a"], timestamp=WHEN[:1])
        assert rows(tables_of(tmp_path / r"a\b"), "events")["user_id"].to_pylist() == ["right"]
        write(tmp_path / r"a\b[1]", user_id=["right"], content_id=["a"], timestamp=WHEN[:1])
        with pytest.raises(UserError, match=r"backslash.*rename"):
            rows(tables_of(tmp_path / r"a\b[1]"), "events")


class TestDates:
    @pytest.fixture
    def dated(self, tmp_path):
        """Writes one content a day, as DuckDB does."""

        def make(*days, kind="DATE"):
            write(tmp_path, user_id=IDS["string"], content_id=IDS["string"], timestamp=WHEN)
            (tmp_path / "contents").mkdir(exist_ok=True)
            values = ", ".join(f"('c{place}', '{day}'::{kind})" for place, day in enumerate(days))
            query = f"SELECT * FROM (VALUES {values}) AS rows(content_id, release_date)"
            duckdb.sql(f"COPY ({query}) TO '{tmp_path}/contents/a.parquet'")
            return rows(tables_of(tmp_path), "contents")

        return make

    @pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMPTZ"])
    def test_none_that_python_tells(self, dated, kind):
        found = dated(
            "infinity", "-infinity", "12026-01-01", "0044-03-15 (BC)", "0001-01-01 (BC)", "2020-05-01", kind=kind
        )
        assert found["release_date"].to_pylist() == [None] * 5 + [dt.date(2020, 5, 1)]
        assert found["dates_lost"].to_pylist() == [1, 1, 1, 1, 1, 0]

    def test_the_first_and_the_last(self, dated):
        found = dated("0001-01-01", "9999-12-31")
        assert found["release_date"].to_pylist() == [dt.date.min, dt.date.max]
        assert found["dates_lost"].to_pylist() == [0, 0]

    def test_of_listeners(self, tmp_path):
        write(tmp_path, user_id=IDS["string"], content_id=IDS["string"], timestamp=WHEN)
        (tmp_path / "users").mkdir()
        duckdb.sql(f"COPY (SELECT 'u' AS user_id, 'infinity'::DATE AS born) TO '{tmp_path}/users/a.parquet'")
        found = rows(tables_of(tmp_path), "users", ("born",)).to_pylist()
        assert [(row["born"], row["dates_lost"]) for row in found] == [(None, 1)]

    def test_a_time_that_microseconds_cannot_hold(self, tmp_path, make_builder):
        stamps = pa.array([0, 2**62], pa.timestamp("ms", tz="UTC"))
        path = write(tmp_path, user_id=IDS["string"], content_id=IDS["string"], timestamp=stamps)
        write(tmp_path, "users", user_id=["a"], country=["is"])
        with pytest.raises(UserError, match=r"column 'timestamp', row 1: 4611686018427387904 milliseconds") as raised:
            make_builder(tmp_path, tmp_path / "stores").build()
        assert str(path) in str(raised.value)


class TestRowHash:
    def test_equal_rows_alone_are_equal(self, tmp_path):
        write(tmp_path, user_id=["a"] * 4, content_id=["x"] * 4, timestamp=[WHEN[0]] * 4, context=["h", "h", None, "r"])
        first, second, third, fourth = rows(tables_of(tmp_path), "events")["row_hash"].to_pylist()
        assert first == second
        assert len({first, third, fourth}) == 3


def test_a_row_of_a_converted_table_is_the_callers(tmp_path):
    path = write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
    origin = Origin(path=tmp_path / "it's mine.parquet", columns={})
    tables = RawTables(root=tmp_path, files={"events": [path]}, has_clock=True, origin=origin)
    assert rows(tables, "events")["filename"].to_pylist() == [str(tmp_path / "it's mine.parquet")]


class TestColumnsInFolders:
    def test_a_folder_above_the_data_names_nothing(self, tmp_path):
        folder = tmp_path / "context=home"
        write(folder, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
        assert rows(tables_of(folder), "events")["context"].to_pylist() == [None]

    def test_a_listeners_column(self, tmp_path):
        write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
        write(tmp_path, "users", part="country=is/a.parquet", user_id=["a"])
        assert rows(tables_of(tmp_path), "users", ("country",))["country"].to_pylist() == ["is"]
        assert "country" not in rows(tables_of(tmp_path), "users").column_names


def test_columns_beside_the_contract(tmp_path, feature_settings):
    write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
    write(tmp_path, "users", user_id=["a"], country=["is"], age=[30], tags=[["x"]], reason=["why"], _metadata=["m"])
    assert raw.columns_to_keep(tables_of(tmp_path), feature_settings) == ("country", "age")


class TestColumnsLeftBehind:
    """A column that is no feature is left out, and one named as a feature is refused."""

    def test_names_equal_but_for_case(self, tmp_path, feature_settings):
        write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
        path = write(tmp_path, "users", user_id=["a"], country=["is"], age=[30], Age=["old"])
        write(tmp_path, "users", part="b.parquet", user_id=["b"], age=[31])
        assert raw.columns_to_keep(tables_of(tmp_path), feature_settings) == ("country",)
        reason = f"columns 'age' and 'Age' of {path} are one to SQL; rename one of them"
        assert raw.columns_left_behind(tables_of(tmp_path), feature_settings) == {"age": reason, "Age": reason}
        with pytest.raises(UserError, match=rf"^features\.user_columns: 'Age' of users/ cannot be read: {reason}$"):
            raw.columns_to_keep(tables_of(tmp_path), replace(feature_settings, user_columns=("Age",)))

    @pytest.mark.parametrize(
        ("one", "other", "is_kept"),
        [
            ("text", 1.5, False),
            ("text", dt.datetime(2026, 1, 1), False),
            ("text", dt.date(2026, 1, 1), False),
            ("text", b"bytes", False),
            ("text", dt.time(7, 30), False),
            ("text", 7, True),
            ("text", True, True),
            (1.5, 7, True),
            (dt.date(2026, 1, 1), dt.datetime(2026, 1, 1), True),
            (None, b"bytes", True),
        ],
    )
    def test_types_that_do_not_become_one(self, tmp_path, feature_settings, one, other, is_kept):
        write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
        write(tmp_path, "users", part="a.parquet", user_id=["a"], said=[one])
        write(tmp_path, "users", part="b.parquet", user_id=["b"], said=[other])
        kept = raw.columns_to_keep(tables_of(tmp_path), replace(feature_settings, user_columns=()))
        assert kept == (("said",) if is_kept else ())
        if not is_kept:
            with pytest.raises(UserError, match=r"'said' of users/ cannot be read: its part files have it as"):
                raw.columns_to_keep(tables_of(tmp_path), replace(feature_settings, user_columns=("said",)))


@pytest.mark.parametrize("name", ["first_place", "first_hash", "kind", "repeated"])
def test_a_listeners_column_of_any_name_is_judged(tmp_path, name):
    write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
    write(tmp_path, "users", user_id=["a", "a", "b"], **{name: [1, 1, 2]})
    (tmp_path / "work").mkdir()
    with DuckDbEngine().open(tmp_path / "work", None) as database:
        raw.select_raw(tables_of(tmp_path), "users", (name,)).define(database, "raw_users")
        database.put("asked_to_forget", pa.table({"user_id": pa.array([], pa.string())}))
        database.run(SQL / "listeners.sql")
        judged = database.table("judged_users", ("file_row_number",))
    assert judged[name].to_pylist() == [1, 1, 2]
    assert judged["reason"].to_pylist() == [None, "duplicate", None]


def test_a_feature_of_lists(tmp_path, feature_settings):
    write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
    write(tmp_path, "users", user_id=["a"], country=[["is", "no"]])
    with pytest.raises(UserError, match=r"^features\.user_columns: 'country' of users/ is list.*must hold one value"):
        raw.columns_to_keep(tables_of(tmp_path), feature_settings)


class TestNamesThatSqlTakesForOthers:
    def test_other_letters(self, tmp_path):
        """Otherwise listeners who asked to be forgotten would come back."""
        write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
        path = write(tmp_path, "users", user_id=["a"], Deleted=[True])
        with pytest.raises(UserError, match=f"{path}: column 'Deleted' must be called 'deleted'"):
            raw.select_raw(tables_of(tmp_path), "users")

    @pytest.mark.parametrize("first", ["title", "TITLE"])
    def test_two_of_a_name(self, tmp_path, first):
        names = [first, "content_id", "title"]
        write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
        pq.write_table(
            pa.Table.from_arrays([pa.array(["x"])] * 3, names), write(tmp_path, "contents", content_id=["x"])
        )
        with pytest.raises(UserError, match=f"columns '{first}' and 'title' are one to SQL"):
            raw.select_raw(tables_of(tmp_path), "contents")


INT128 = (
    "eNptUU1PwkAQ3W4M4WA8sZtu0kMvEggNwqIp9TaQBolJbRvjx7FYFkiQmhZBPflz/JnOLh408SU7X++9OezEkPYZYR7zPEaxqLEa"
    "IZTgsyzyF+xEnJKasK2MEU55xKNmnQiH11nENU2Fd3VUFsWWUdQyl1GUolI4wmneOf/a+afFGgQb2qzzqEFwn30MaXpzf1k9LefP"
    "mf1lnWkMHgER6jDcYf+W/PRmdA1QwdjkBDox8vu9nk8BFr91Jvia/zBzEyZgKLSjeTSFkcmh3ocwewDiWzR1DnVysI4TvW9x6Cch"
    "EDuKi3VWVm7r5X27LDZtdzcvq1WxcWW33+25rdnrap27vgp6cpYPlMqlr9RQ5v1z6Q+zXpDJ4EIpqfxsngeyLRwH//UB7xDjlb4B"
    "qzZZbA=="
)
"""A file of polars with a column `a` of one pl.Int128, packed by zlib and base64: pyarrow cannot write one."""


def test_a_column_of_a_type_that_arrow_lacks(tmp_path):
    path = write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
    path.write_bytes(zlib.decompress(b64decode(INT128)))
    with pytest.raises(UserError, match=f"^{path}: a column of a type that cannot be read .*more than 64 bits"):
        raw.columns_of(tables_of(tmp_path), "events")


def test_absent_tables_are_empty(tmp_path):
    write(tmp_path, user_id=["a"], content_id=["x"], timestamp=WHEN[:1])
    for table in ("contents", "users", "playlists"):
        assert len(rows(tables_of(tmp_path), table)) == 0


def test_the_hand_written_set(tmp_path):
    tables = tables_of(raw_set.write_raw(tmp_path / "raw"))
    assert len(rows(tables, "events")) == len(raw_set.EVENTS)
    assert rows(tables, "contents")["content_id"].to_pylist() == [content["content_id"] for content in raw_set.CONTENTS]
