"""Whatever is found where raw data should be ends as a store that is right, or in one line."""

import random
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data import any_events, raw_set
from tests.data.any_events import FILES, GOOD
from tests.data.read_back import assert_nothing_half_written, histories_by_id
from tests.data.test_raw import rows, tables_of
from towers.data.store import CURRENT
from towers.errors import UserError

OTHERWISE = "the same event is in another row, with other values"
NO_LIMITS = {"max_rejected_fraction": 1.0, "max_duplicate_fraction": 1.0}
QUICK, LONG = 5, 300
"""Whole prepares of a property: each takes a good part of a second."""


def often(times):
    return settings(max_examples=times, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def prepared_or_told(make_builder, raw, root):
    """The store, or the line that says what is wrong with the data."""
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
    """Rows by chance, one file of them twice, some listeners forgotten: the store says what the rows say."""
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
def test_any_events(make_builder, data, files):
    check_any_events(make_builder, data, files)


@pytest.mark.slow
@often(LONG)
@given(data=st.data(), files=FILES)
def test_any_events_often(make_builder, data, files):
    check_any_events(make_builder, data, files)


def damaged(content, random):
    """A file of which some bytes are others, half of the time of the footer, or are missing, or are there twice."""
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
    """Prepares the hand-written set with one file of it damaged: it ends as a store, or in one line."""
    for seed in seeds:
        chance = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            raw = raw_set.write_raw(Path(folder) / "raw")
            raw_set.write_part(raw, "contents", raw_set.content_table(raw_set.CONTENTS).drop_columns("audio"))
            raw_set.write_part(raw, "impressions", pa.Table.from_pylist(IMPRESSIONS))
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
    check_damaged(make_builder, range(100, 1_100))
