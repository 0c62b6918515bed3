"""Tests of impressions: they are checked row by row, kept in order of arrival, and read once."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towers.contract.events import microseconds_of
from towers.contract.impressions import IMPRESSION_COLUMNS, IMPRESSION_SCHEMA, Impression
from towers.data.engines.duckdb_engine import DuckDbEngine
from towers.data.event_log.rows import Forgotten
from towers.data.impressions import REJECTED, Impressions, part_path
from towers.data.impressions_reader import open_impressions
from towers.data.rejecting import Losses
from towers.data.row_groups import ROWS
from towers.data.sources.tables import RawTables
from towers.data.tables import Tables
from towers.errors import UserError
from towers.manifest import scratch_directory

NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
GOOD = {
    "request_id": "r1", "user_id": "ann", "timestamp": NOON, "candidate_ids": ["a", "b", None], "chosen_id": "a",
    "slot": 0, "shelf": "home", "propensity": 0.5, "policy_id": "p", "space_id": "s", "clicked": True,
    "played_ms": 5_000, "skipped": False, "finished": None, "saved": None,
}  # fmt: skip
SHORT = {"request_id": "r0", "user_id": "ben", "timestamp": NOON}
"""The required columns."""


class Raw:
    """Raw files of impressions in a folder, and versions of a store that are made from them."""

    def __init__(self, folder, features):
        self.folder, self.features = folder, features
        self.files: dict[Path, int] = {}

    def add(self, *rows, schema=IMPRESSION_SCHEMA, **options):
        table = rows[0] if isinstance(rows[0], pa.Table) else pa.Table.from_pylist(list(rows), schema)
        path = self.folder / f"raw/impressions/{len(self.files)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, **options)
        self.files[path] = 3 * len(self.files) + 1
        return path

    def make(self, name, previous=None, forgotten=(), came_back=None):
        """Makes a state of the log; listeners in `came_back` (listener -> first file of theirs) were forgotten
        before.
        """
        tables = RawTables(root=self.folder / "raw", files={"impressions": list(self.files)}, has_clock=True)
        before = Forgotten(key=b"", until_file={})
        for user_id, until_file in (came_back or {}).items():
            before = before.with_more([user_id], until_file)
        state = self.folder / name
        with scratch_directory(self.folder / "work") as work, DuckDbEngine().open(work, None) as database:
            clean = Tables(database, tables, self.features)
            clean.put("forgotten", {"user_id": pa.array(forgotten, pa.string())})
            self.losses = Impressions(clean, tables, self.files, before, previous).write(state)
        return state


@pytest.fixture
def raw(tmp_path, feature_settings):
    return Raw(tmp_path, feature_settings)


def kept(version):
    return open_impressions(version / "impressions", None).to_table().to_pylist()


def rejected(version):
    path = version / REJECTED
    rows = pq.read_table(path).to_pylist() if path.exists() else []
    return {(Path(row["filename"]).stem, row["file_row_number"]): row["reason"] for row in rows}


def everything(version):
    return {path.relative_to(version): path.read_bytes() for path in version.rglob("*") if path.is_file()}


BAD = {
    "request_id is null": {"request_id": None},
    "user_id is null": {"user_id": None},
    "timestamp is null": {"timestamp": None},
    "timestamp out of range": {"timestamp": dt.datetime(1970, 1, 1, tzinfo=dt.UTC)},
    "slot is below 0": {"slot": -1},
    "propensity is not above 0 and at most 1": {"propensity": 0.0},
    "chosen_id is not among candidate_ids": {"chosen_id": "c"},
    "played_ms is negative": {"played_ms": -1},
}


class TestRows:
    @pytest.mark.parametrize("reason", BAD)
    def test_a_fault(self, raw, reason):
        raw.add(SHORT, {**GOOD, **BAD[reason]}, {**GOOD, "request_id": "r2"})
        version = raw.make("v")
        assert rejected(version) == {("0", 1): reason}
        assert [row["request_id"] for row in kept(version)] == ["r0", "r2"]

    @pytest.mark.parametrize("propensity", [-0.1, 1.0000001, float("nan"), float("inf"), -float("inf")])
    def test_what_is_no_chance(self, raw, propensity):
        raw.add({**GOOD, "propensity": propensity})
        assert rejected(raw.make("v")) == {("0", 0): "propensity is not above 0 and at most 1"}

    @pytest.mark.parametrize("propensity", [None, 1.0, 5e-324])
    def test_what_is_one(self, raw, propensity):
        raw.add({**GOOD, "propensity": propensity})
        assert [row["propensity"] for row in kept(raw.make("v"))] == [propensity]

    @pytest.mark.parametrize(
        "row",
        [{"chosen_id": None}, {"candidate_ids": None}, {"chosen_id": "b"}, {"candidate_ids": ["a"]}, {"slot": None}],
    )
    def test_what_may_be(self, raw, row):
        raw.add({**GOOD, **row})
        assert kept(raw.make("v")) == [{**GOOD, **row}]

    def test_nobody_is_chosen_from_nobody(self, raw):
        raw.add({**GOOD, "candidate_ids": []}, {**GOOD, "request_id": "r2", "candidate_ids": [None]})
        assert list(rejected(raw.make("v")).values()) == ["chosen_id is not among candidate_ids"] * 2

    def test_the_required_columns_alone(self, raw):
        raw.add(pa.table({name: [value] for name, value in SHORT.items()}))
        assert kept(raw.make("v")) == [{**dict.fromkeys(IMPRESSION_COLUMNS), **SHORT}]

    def test_every_row_that_is_kept_is_an_impression(self, raw):
        """The two say the same of a row."""
        names = [name for name in IMPRESSION_COLUMNS if name not in ("timestamp", "candidate_ids")]
        changes = [{}, *BAD.values(), {"propensity": 1.5}, {"propensity": float("nan")}, {"slot": 7}]
        rows = [{**GOOD, "request_id": f"r{place}", **change} for place, change in enumerate(changes)]
        raw.add(*rows)
        for row in kept(raw.make("v")):
            impression = Impression(
                timestamp_us=microseconds_of(row["timestamp"]),
                candidate_ids=tuple(each or "" for each in row["candidate_ids"]),
                **{name: row[name] for name in names},
            )
            assert impression.request_id in {"r0", f"r{len(changes) - 1}"}

    def test_ids_of_other_types_and_numbers_that_do_not_fit(self, raw):
        numbers = {"request_id": [7, 8], "user_id": [1, 2], "slot": [1, 2**63], "chosen_id": [2**64 - 1] * 2}
        table = pa.table({name: pa.array(values, pa.uint64()) for name, values in numbers.items()})
        lists = pa.array([[Decimal(2**64 - 1)], [None]], pa.list_(pa.decimal128(20, 0)))
        times = pa.array([NOON.replace(tzinfo=None)] * 2, pa.timestamp("ns"))
        propensities = pa.array([Decimal("0.25")] * 2, pa.decimal128(5, 2))
        columns = {"candidate_ids": lists, "timestamp": times, "propensity": propensities}
        raw.add(pa.table({**{name: table[name] for name in table.column_names}, **columns}))
        version = raw.make("v")
        (row,) = kept(version)
        assert (row["request_id"], row["slot"], row["candidate_ids"]) == ("7", 1, [str(2**64 - 1)])
        assert (row["timestamp"], row["propensity"]) == (NOON, 0.25)
        assert rejected(version) == {("0", 1): "slot is out of range"}


class TestRequests:
    def test_a_slot_stands_once(self, raw):
        other, again = {**GOOD, "clicked": False}, {**GOOD, "slot": 1, "chosen_id": "b"}
        raw.add(SHORT, GOOD, GOOD, other, again)
        raw.add(again, GOOD)
        version = raw.make("v")
        assert kept(version) == [{**dict.fromkeys(IMPRESSION_COLUMNS), **SHORT}, GOOD, again]
        assert rejected(version) == {
            ("0", 2): "duplicate",
            ("0", 3): "slot is in another row of the request, with other values",
            ("1", 0): "duplicate",
            ("1", 1): "duplicate",
        }

    def test_without_slots_rows_that_say_the_same_are_one(self, raw):
        one, other = {**GOOD, "slot": None}, {**GOOD, "slot": None, "chosen_id": "b"}
        raw.add(one, other, one)
        version = raw.make("v")
        assert kept(version) == [one, other]
        assert rejected(version) == {("0", 2): "duplicate"}

    def test_it_has_one_listener(self, raw):
        raw.add({**GOOD, "user_id": "eve", "propensity": 7.0}, GOOD, {**GOOD, "user_id": "ben", "slot": 1})
        raw.add({**GOOD, "user_id": "ben", "slot": 2}, {**GOOD, "slot": 2})
        version = raw.make("v")
        assert [(row["user_id"], row["slot"]) for row in kept(version)] == [("ann", 0), ("ann", 2)]
        reason = "request_id is in another row, with another user_id"
        assert rejected(version) == {
            ("0", 0): "propensity is not above 0 and at most 1",
            ("0", 2): reason,
            ("1", 0): reason,
        }


class TestForgotten:
    def test_they_leave_no_trace(self, raw):
        raw.add({**GOOD, "user_id": "cy-9"}, {**GOOD, "user_id": "cy-9", "slot": -1}, GOOD, {**GOOD, "slot": 1})
        version = raw.make("v", forgotten=["cy-9"])
        assert [row["slot"] for row in kept(version)] == [0, 1]
        assert not (version / REJECTED).exists()
        assert b"cy-9" not in b"".join(everything(version).values())

    def test_who_came_back_begins_anew(self, raw):
        raw.add({**GOOD, "user_id": "cy"})
        raw.add({**GOOD, "user_id": "cy", "request_id": "r2"})
        (_, number) = raw.files.values()
        assert [row["request_id"] for row in kept(raw.make("v", came_back={"cy": number}))] == ["r2"]


def many(rows, seed, first=0):
    """Draws rows with faults, repeats, and requests of two listeners; of 40 listeners."""
    draw = np.random.default_rng(seed)
    table = [
        {
            **GOOD,
            "request_id": f"r{draw.integers(first, first + rows // 3)}",
            "user_id": f"u{draw.integers(2)}" if draw.random() < 0.05 else None,
            "slot": int(draw.integers(-1, 6)),
            "propensity": float(draw.choice([0.5, 1.0, 1.5, np.nan], p=[0.6, 0.38, 0.01, 0.01])),
            "played_ms": int(draw.integers(0, 2)),
        }
        for _ in range(rows)
    ]
    for row in table:
        row["user_id"] = row["user_id"] or f"u{int(row['request_id'][1:]) % 40}"
    return table


def test_by_brute_force(raw):
    """A row counts if it is sound by itself, of the request's listener, and in a slot that is still free."""
    rows = [many(150, seed) for seed in (1, 2)]
    for part in rows:
        raw.add(*part)
    listeners, taken, wanted = {}, set(), []
    for row in (row for part in rows for row in part):
        is_sound = row["slot"] >= 0 and 0 < row["propensity"] <= 1
        place = (row["request_id"], row["slot"])
        if (
            is_sound
            and listeners.setdefault(row["request_id"], row["user_id"]) == row["user_id"]
            and place not in taken
        ):
            taken.add(place)
            wanted.append(row)
    assert kept(raw.make("v")) == wanted
    assert len(wanted) > 100
    assert raw.losses.rows == 300
    assert raw.losses.bad + raw.losses.repeated == 300 - len(wanted)


class TestVersions:
    """A version that links to an earlier one equals, byte for byte, one that reads everything."""

    def test_days_one_by_one(self, raw):
        previous, losses = None, Losses()
        for day in range(3):
            raw.add(*many(150, day, first=30 * day))
            previous = raw.make(f"after {day}", previous)
            losses = raw.losses
            assert everything(previous) == everything(raw.make(f"all {day}"))
            assert losses == raw.losses
        assert losses.rows == 450
        assert losses.repeated > 10
        assert losses.bad > losses.repeated

    def test_parts_of_before_are_links(self, raw):
        raw.add(GOOD)
        before = raw.make("before")
        raw.add({**GOOD, "slot": 1})
        after = raw.make("after", before)
        part = part_path(after / "impressions", 1)
        assert part.samefile(part_path(before / "impressions", 1))
        assert part_path(after / "impressions", 4).stat().st_nlink == 1

    def test_nothing_new(self, raw):
        raw.add(GOOD, {**GOOD, "slot": -1})
        before = raw.make("before")
        assert everything(raw.make("after", before)) == everything(before)

    @pytest.mark.parametrize("forgotten", [["lone-1"], ["lone-0", "lone-1", "nobody"], ["u0", "lone-1"], ["nobody"]])
    def test_a_listener_leaves(self, raw, forgotten):
        for day in range(3):
            one = {**GOOD, "user_id": f"lone-{day}"}
            lone = [{**one, "request_id": f"l{day}-{place}", "slot": place - 2} for place in range(5)]
            raw.add(*lone[:2], *many(100, 10 + day, first=20 * day), *lone[2:])
        before = raw.make("before")
        after = raw.make("after", before, forgotten)
        losses = raw.losses
        assert everything(after) == everything(raw.make("all", None, forgotten))
        assert losses == raw.losses
        assert not {row["user_id"] for row in kept(after)} & {*forgotten}
        is_link = [
            part_path(after / "impressions", n).samefile(part_path(before / "impressions", n)) for n in (1, 4, 7)
        ]
        if forgotten == ["lone-1"]:
            assert is_link == [True, False, True]

    def test_in_whose_name_somebody_elses_rows_were_left_out(self, raw):
        raw.add(GOOD, {**GOOD, "user_id": "ben"})
        before = raw.make("before")
        assert [row["user_id"] for row in kept(before)] == ["ann"]
        assert [row["user_id"] for row in kept(raw.make("after", before, ["ann"]))] == ["ben"]


def test_many_row_groups_stay_in_their_order(raw):
    numbers = np.arange(2 * ROWS + 5_000)
    columns = {"request_id": numbers, "user_id": numbers % 7, "timestamp": pa.array([NOON] * len(numbers)),
               "slot": np.where(numbers % 1_000 == 3, -1, 0)}  # fmt: skip
    raw.add(pa.table(columns), row_group_size=1_000)
    version = raw.make("v")
    found = open_impressions(version / "impressions", None).to_table(columns=["request_id"])
    assert found["request_id"].to_pylist() == [str(number) for number in numbers if number % 1_000 != 3]
    groups = pq.read_metadata(part_path(version / "impressions", 1))
    lengths = [groups.row_group(place).num_rows for place in range(groups.num_row_groups)]
    assert lengths == [ROWS, ROWS, len(found) - 2 * ROWS]


class TestFiles:
    def test_none(self, raw):
        version = raw.make("v")
        assert not version.exists()
        assert open_impressions(version / "impressions", None).schema == IMPRESSION_SCHEMA
        assert kept(version) == []

    def test_without_rows(self, raw):
        raw.add(IMPRESSION_SCHEMA.empty_table())
        version = raw.make("v")
        assert part_path(version / "impressions", 1).exists()
        assert kept(version) == []

    def test_damaged(self, raw):
        path = raw.add(GOOD)
        content = bytearray(path.read_bytes())
        content[4:200] = bytes(196)
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"^{path}: damaged"):
            raw.make("v")

    def test_a_column_of_a_wrong_type(self, raw):
        path = raw.add(pa.table({**{name: [value] for name, value in SHORT.items()}, "propensity": ["high"]}))
        with pytest.raises(UserError, match=f"^{path}: column 'propensity' is string, must be a number above 0"):
            raw.make("v")


def test_what_is_shown_later_is_left_out(raw):
    raw.add(GOOD, {**GOOD, "slot": 1, "timestamp": NOON + dt.timedelta(days=1)})
    folder = raw.make("v") / "impressions"
    assert open_impressions(folder, microseconds_of(NOON) + 1).to_table().to_pylist() == [GOOD]
    assert open_impressions(folder, microseconds_of(NOON)).count_rows() == 0
