"""Any raw data, however damaged, gives a correct store or an error of one line."""

import random
import tempfile
from collections import Counter
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data import any_events, raw_set
from tests.data.any_events import FILES, GOOD
from tests.data.read_back import assert_nothing_half_written, histories_by_id
from tests.data.test_raw import rows, tables_of
from towers.contract.tables import CONTRACT
from towers.data.store import CURRENT
from towers.errors import UserError

OTHERWISE = "the same event is in another row, with other values"
NO_LIMITS = {"max_rejected_fraction": 1.0, "max_duplicate_fraction": 1.0}
QUICK, LONG = 5, 150
"""Number of whole prepares for a property: each takes a good part of a second."""


def often(times):
    return settings(max_examples=times, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def prepared_or_told(make_builder, raw, root):
    """Returns the store, or the line about the error in the data."""
    builder = make_builder(raw, root, **NO_LIMITS)
    try:
        return builder.build()[0]
    except UserError as error:
        line = str(error)
    assert "\n" not in line
    assert not (root / CURRENT).exists()
    assert not list(root.glob("*/histories"))
    assert_nothing_half_written(root)
    return line


@often(20)
@given(data=st.data(), files=FILES)
def test_events_read_the_same_however_they_are_written(data, files):
    with tempfile.TemporaryDirectory() as folder:
        any_events.write(Path(folder), [data.draw(any_events.tables(part)) for part in files])
        found = rows(tables_of(folder), "events").sort_by([("filename", "ascending"), ("file_row_number", "ascending")])
    wanted = [row for part in files for row in part]
    for name in ("user_id", "content_id", "action"):
        assert found[name].to_pylist() == [any_events.text(row[name]) for row in wanted]
    for name in ("timestamp", "played_ms"):
        assert found[name].to_pylist() == [row[name] for row in wanted]


def check_any_events(make_builder, data, files):
    """Prepares random rows, one file of them twice, with some listeners forgotten: the store holds what the rows
    say.
    """
    files = [GOOD, *files]
    files += [data.draw(st.sampled_from(files))]
    listed = data.draw(st.lists(st.sampled_from([*any_events.NAMES[1:], *map(str, any_events.NUMBERS)]), unique=True))
    deleted = data.draw(st.lists(st.sampled_from(listed), unique=True)) if listed else []
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        any_events.write(raw, [data.draw(any_events.tables(part)) for part in files])
        flags = pa.array([name in deleted for name in listed], pa.bool_())
        users = {"user_id": pa.array(listed, pa.string()), "deleted": flags, "country": pa.nulls(len(listed))}
        raw_set.write_part(raw, "users", pa.table(users))
        store = prepared_or_told(make_builder, raw, Path(folder) / "stores")
        histories, reasons, repeats = any_events.expected(files, {*deleted})
        assert not isinstance(store, str), store
        found = {user_id: events for user_id, events in histories_by_id(store).items() if events}
        assert found == histories
        assert {*store.user_ids.tolist()} == {*histories, *listed} - {*deleted}
        left_out = Counter(store.rejected().get("events", {}))
        assert left_out.pop("duplicate", 0) + left_out.pop(OTHERWISE, 0) == repeats
        assert left_out == reasons


@often(QUICK)
@given(data=st.data(), files=FILES)
@pytest.mark.slow
def test_any_events(make_builder, data, files):
    check_any_events(make_builder, data, files)


@pytest.mark.slow
@often(LONG)
@given(data=st.data(), files=FILES)
def test_any_events_often(make_builder, data, files):
    check_any_events(make_builder, data, files)


VALUES = {
    "text": ["", "7", "1e400", "2026-01-05", "true", "\U0001d11e"],
    "bytes": [b"\xff\xfe", b"7"],
    "flags": [True, False],
    "small numbers": pa.array([0, -1, 127], pa.int8()),
    "great numbers": pa.array([2**64 - 1, 2**63], pa.uint64()),
    "fractions": [0.5, float("nan"), float("inf"), -1e308],
    "half fractions": pa.array(np.array([0.5, np.nan], np.float16)),
    "decimals": pa.array([Decimal("1.5"), Decimal("-" + "9" * 30)], pa.decimal128(38, 2)),
    "widest decimals": pa.array([Decimal("9" * 60)], pa.decimal256(76, 0)),
    "days": [date(1, 1, 1), date(9999, 12, 31), date(2026, 1, 5)],
    "far instants": pa.array([2**62, -(2**62), 0], pa.timestamp("us", "UTC")),
    "farther instants": pa.array([2**62, 0], pa.timestamp("ms")),
    "nanoseconds": pa.array([2**63 - 1, -(2**63) + 1], pa.timestamp("ns")),
    "hours": [time(1, 2, 3)],
    "spans": pa.array([5], pa.duration("us")),
    "lists of text": [["a1", None], [], ["a1", "a1"]],
    "lists of lists": [[["a1"]], [[]]],
    "lists of fractions": [[0.5]],
    "structs": [{"a": 1, "b": ["x"]}],
    "maps": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "dictionary of days": pa.array([date(2026, 1, 5)]).dictionary_encode(),
    "dictionary of flags": pa.array([True]).dictionary_encode(),
    "words of two bytes": pa.array([b"ab"], pa.binary(2)),
    "nothing": pa.nulls(1),
}
"""Values of every type of a Parquet file, among them some that are no value of their column."""


def check_any_column(make_builder, table, column, kind):
    """Prepares the hand-written set with other values in a column: it must end as a store, or with one line."""
    with tempfile.TemporaryDirectory() as folder:
        raw = written(Path(folder) / "raw")
        path = raw / table / "part-0.parquet"
        rows = pq.read_table(path)
        values = pa.array(VALUES[kind])
        values = values.take(pa.array([None, *(place % len(values) for place in range(len(rows) - 1))], pa.int64()))
        if column in rows.column_names:
            rows = rows.drop_columns([column])
        pq.write_table(rows.append_column(column, values), path)
        store = prepared_or_told(make_builder, raw, Path(folder) / "stores")
        if isinstance(store, str):
            assert str(raw) in store or f"{table}/" in store, store


COLUMNS = [(table, column) for table, columns in CONTRACT.items() for column in columns] + [("users", "country")]


def test_a_column_of_any_values(make_builder):
    pairs = [(place, kind) for place in COLUMNS for kind in VALUES]
    for (table, column), kind in random.Random(0).sample(pairs, 8):
        check_any_column(make_builder, table, column, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", VALUES)
def test_every_column_of_any_values(make_builder, kind):
    for table, column in COLUMNS:
        check_any_column(make_builder, table, column, kind)


def written(raw):
    """Writes the hand-written set without sounds, with impressions."""
    raw_set.write_raw(raw)
    raw_set.write_part(raw, "contents", raw_set.content_table(raw_set.CONTENTS).drop_columns("audio"))
    raw_set.write_part(raw, "impressions", pa.Table.from_pylist(IMPRESSIONS))
    return raw


def damaged(content, random):
    """Draws a damaged file: some bytes, half of the time in the footer, are changed, missing, or repeated."""
    data = bytearray(content)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    first = random.choice([0, max(0, len(data) - footer)])
    place = random.randrange(first, len(data))
    match random.choice(["bits"] * 5 + ["bytes"] * 3 + ["zeros", "end", "more", "twice", "length"]):
        case "bits":
            for _ in range(random.choice([1, 1, 1, 2, 4, 16])):
                data[random.randrange(first, len(data))] ^= 1 << random.randrange(8)
        case "bytes":
            for _ in range(random.choice([1, 1, 2, 8])):
                data[random.randrange(first, len(data))] = random.choice([0, 1, 127, 128, 255])
        case "zeros":
            data[place : place + 40] = bytes(len(data[place : place + 40]))
        case "end":
            del data[place:]
        case "more":
            data[place:place] = random.randbytes(random.randrange(1, 16))
        case "twice":
            data[place:place] = data[place : place + 40]
        case "length":
            data[-random.randrange(5, 9)] = random.randrange(256)
    return bytes(data)


def check_damaged(make_builder, seeds):
    """Prepares the hand-written set with one file of it damaged: it must end as a store, or with one line."""
    for seed in seeds:
        chance = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            raw = written(Path(folder) / "raw")
            path = chance.choice(sorted(raw.rglob("*.parquet")))
            options = {"compression": chance.choice(["none", "snappy", "zstd"]), "use_dictionary": seed % 2 == 0}
            pq.write_table(pq.read_table(path), path, **options)
            path.write_bytes(damaged(path.read_bytes(), chance))
            store = prepared_or_told(make_builder, raw, Path(folder) / "stores")
            if not isinstance(store, str):
                store.impressions.to_table()


IMPRESSIONS = [
    {"request_id": f"r{slot // 2}", "user_id": "ann", "timestamp": raw_set.at(slot), "candidate_ids": ["a1", "a2"],
     "chosen_id": "a1", "slot": slot % 2, "propensity": 0.5} for slot in range(6)
]  # fmt: skip


def test_a_damaged_file(make_builder):
    check_damaged(make_builder, range(12))


@pytest.mark.slow
def test_many_damaged_files(make_builder):
    check_damaged(make_builder, range(100, 700))
