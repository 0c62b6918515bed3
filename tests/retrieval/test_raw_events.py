"""A history as columns equals the same history as mappings, with times and without."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from towers.contract import schema
from towers.errors import UserError
from towers.retrieval.export import Export
from towers.retrieval.export_files import DEFAULT_TRACK_US
from towers.retrieval.raw_events import RawEvents, events_from_raw, times_of, told_history

GOLDEN = Path(__file__).parent.parent / "golden" / "format-2" / "export"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def export() -> Export:
    return Export(GOLDEN, check_files=False)


def test_mappings_become_columns_as_they_stand() -> None:
    rows = [
        {"content_id": 7, "timestamp": NOON, "played_ms": 1, "context": "home"},
        {"timestamp": "2026-01-05T11:00:00", "action": "search"},
    ]
    assert RawEvents.of(rows) == RawEvents(
        content_id=["7", None],
        timestamp_us=[NOON_US, NOON_US - 3_600_000_000],
        action=[schema.PLAY, schema.ACTION_CODES["search"]],
        played_ms=[1.0, None],
        context=["home", None],
    )


def test_told_with_times_it_is_in_their_order(export: Export) -> None:
    rows = [{"content_id": export.content_ids[row], "timestamp": NOON - timedelta(hours=row)} for row in range(3)]
    events, until_us = told_history(export, RawEvents.of(rows))
    assert events.content_row.tolist() == events_from_raw(export, rows).content_row.tolist() == [2, 1, 0]
    assert events.timestamp_us[-1] == until_us == NOON_US


def test_told_without_times_it_is_one_after_the_other(export: Export) -> None:
    row = int(np.flatnonzero(export.durations_ms)[0])
    rows = [{"content_id": export.content_ids[row]}, {"content_id": "gone"}]
    events, until_us = told_history(export, RawEvents.of(rows))
    assert until_us is None
    assert events.content_row.tolist() == [row, -1]
    assert events.timestamp_us[1] - events.timestamp_us[0] == DEFAULT_TRACK_US
    assert events.played_fraction.tolist() == [1, 1]
    told_one, _ = told_history(export, RawEvents.of([{**rows[0], "played_ms": 1e9}, rows[1]]))
    assert told_one.played_fraction.tolist() == [1, -1]


def test_times_are_of_all_or_of_none() -> None:
    assert times_of([]) is times_of([None, None]) is None
    assert times_of([NOON, "2026-01-05T12:00:00.000001Z"]) == [NOON_US, NOON_US + 1]
    with pytest.raises(UserError, match=r"^history\.1\.timestamp: missing"):
        times_of(["soon", None])
    with pytest.raises(UserError, match=r"^timestamp=soon: must be a time"):
        times_of(["soon"])
