"""Draws random events and ways in which tools write them, and computes the store that must result."""

import datetime as dt
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.data.raw_set import at
from towers.contract import schema

Row = dict[str, Any]

NAMES = [
    "ann",
    "",
    " ann",
    "ANN",
    "à la carte",
    "a\u0300 la carte",
    "مرحبا",
    "𝄞\u200d",
    "it's",
    'say "x"',
    "null",
    "a\0b",
]
"""Ids that are easily taken for each other: capitals, spaces, two ways to write one letter, a zero byte."""
NUMBERS = [0, 7, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 10**37]
DAYS = [at(0), at(0, 1e-6), at(10), at(21), at(31), at(32, 43_200)]
NO_DAYS = [None, dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2100, 1, 1, tzinfo=dt.UTC)]
PLAYED = [None, 0, 5_000, 90_000, 2**40, -1]

IDS = st.one_of(st.none(), st.sampled_from(NAMES), st.sampled_from(NUMBERS))
ROWS = st.fixed_dictionaries(
    {
        "user_id": IDS,
        "content_id": IDS,
        "timestamp": st.one_of(st.sampled_from(DAYS), st.sampled_from(DAYS), st.sampled_from(NO_DAYS)),
        "action": st.sampled_from([*schema.ACTIONS[:4], "search", None, None, "hum"]),
        "played_ms": st.sampled_from(PLAYED),
    }
)
GOOD: list[Row] = [
    {"user_id": "zoe", "content_id": "a1", "timestamp": at(day), "action": "play", "played_ms": None}
    for day in (0, 21, 31)
]
"""Rows that give every period a positive event."""
FILES = st.lists(st.lists(ROWS, max_size=6), min_size=1, max_size=4)
"""Rows by part file."""


def text(value: str | int | None) -> str | None:
    """Returns an id as a store has it."""
    return None if value is None else str(value)


def id_columns(values: list[Any]) -> list[pa.Array]:
    """Returns all columns that hold some ids and differ in type."""
    texts = pa.array(map(text, values), pa.string())
    columns = [texts, texts.cast(pa.large_string()), texts.cast(pa.string_view()), texts.dictionary_encode()]
    if all(value is None for value in values):
        return [*columns, pa.nulls(len(values))]
    if any(isinstance(value, str) for value in values):
        return columns
    known = [value for value in values if value is not None]
    decimals = pa.array([None if value is None else Decimal(value) for value in values], pa.decimal128(38, 0))
    columns.append(decimals)
    for kind, least, most in ((pa.int64(), -(2**63), 2**63), (pa.uint64(), 0, 2**64), (pa.int8(), -128, 128)):
        if min(known) >= least and max(known) < most:
            numbers = pa.array(values, kind)
            columns += [numbers, numbers.dictionary_encode()]
    return columns


def time_columns(values: list[dt.datetime | None]) -> list[pa.Array]:
    """Instants in UTC, in zones, and without one."""
    naive = [None if value is None else value.replace(tzinfo=None) for value in values]
    utc = pa.array(values, pa.timestamp("us", "UTC"))
    nanoseconds = pa.array(values, pa.timestamp("ns", "UTC"))
    return [utc, utc.cast(pa.timestamp("us", "Asia/Tokyo")), nanoseconds, pa.array(naive, pa.timestamp("us"))]


def number_columns(values: list[int | None]) -> list[pa.Array]:
    """Milliseconds, whole or not."""
    return [pa.array(values, kind) for kind in (pa.int64(), pa.float64())] + [
        pa.array([None if value is None else Decimal(value) for value in values], pa.decimal128(20, 2))
    ]


@st.composite
def tables(draw: st.DrawFn, rows: list[Row]) -> tuple[pa.Table, dict[str, Any]]:
    """Draws rows as a table, and a way to write it."""
    ways = {"timestamp": time_columns, "played_ms": number_columns}
    columns = {name: draw(st.sampled_from(ways.get(name, id_columns)([row[name] for row in rows]))) for name in GOOD[0]}
    for name in ("action", "played_ms"):
        if columns[name].null_count == len(rows) and draw(st.booleans()):
            del columns[name]
    table = pa.table({name: columns[name] for name in draw(st.permutations(sorted(columns)))})
    options = {
        "use_deprecated_int96_timestamps": draw(st.booleans()),
        "compression": draw(st.sampled_from(["none", "snappy", "zstd"])),
        "row_group_size": draw(st.sampled_from([1, 2, 1_000])),
        "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
    }
    return table, options


def write(folder: Path, parts: list[tuple[pa.Table, dict[str, Any]]]) -> None:
    """Writes part files of events."""
    (folder / "events").mkdir(parents=True)
    for number, (table, options) in enumerate(parts):
        pq.write_table(table, folder / f"events/part-{number}.parquet", **options)


def fault(row: Row) -> str | None:
    """Returns why a row is rejected by itself, or None."""
    action = row["action"] or "play"
    if row["user_id"] is None:
        return "user_id is null"
    if row["timestamp"] is None:
        return "timestamp is null"
    if not 1990 <= row["timestamp"].year < 2100:
        return "timestamp out of range"
    if action not in schema.ACTIONS:
        return f"unknown action {action!r}"
    if row["content_id"] is None and action not in schema.ACTIONS_WITHOUT_CONTENT:
        return "content_id is null"
    return "played_ms is negative" if (row["played_ms"] or 0) < 0 else None


def expected(files: list[list[Row]], forgotten: set[str]) -> tuple[dict[str, list[tuple]], Counter[str], int]:
    """Returns the content of a store of these rows: histories as `histories_by_id` gives them, rejected rows by reason,
    and repeats.
    """
    histories: dict[str, list[tuple]] = {}
    reasons, seen, repeats = Counter(), set(), 0
    for row in (row for rows in files for row in rows if text(row["user_id"]) not in forgotten):
        if (reason := fault(row)) is not None:
            reasons[reason] += 1
            continue
        user_id = str(row["user_id"])
        event = (text(row["content_id"]), row["action"] or "play", row["timestamp"])
        if (user_id, event) in seen:
            repeats += 1
            continue
        seen.add((user_id, event))
        histories.setdefault(user_id, []).append(event)
    for events in histories.values():
        events.sort(key=lambda event: event[2])
    return histories, reasons, repeats
