"""Rows of impressions follow the contract and agree with the events."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.simulation.environment.small import simulator
from tests.simulation.environment.test_home_shelf import SLOTS, shown
from towers.contract.impressions import IMPRESSION_SCHEMA, Impression
from towers.lifecycle.simulator import impressions
from towers.lifecycle.simulator.impressions import impression_tables
from towers.simulation.listeners.raw_events import event_table

NAMES = {"prefix": "simulated-", "policy_id": "uniform", "shelf": "home"}


@pytest.fixture(scope="module")
def listening():
    return shown()


@pytest.fixture(scope="module")
def tables(listening):
    log, pages = listening
    return [*impression_tables(pages, log, simulator().space, **NAMES)]


@pytest.fixture(scope="module")
def rows(tables):
    return pa.concat_tables([table for _, table in tables]).to_pylist()


def test_each_slot_is_a_row_of_the_contract(listening, rows):
    assert len(rows) == SLOTS * len(listening[1])
    for row in rows:
        told: dict[str, Any] = {name: value for name, value in row.items() if name != "timestamp"}
        told["candidate_ids"] = tuple(told["candidate_ids"])
        Impression(timestamp_us=0, **told)
        assert (row["shelf"], row["policy_id"], row["space_id"]) == ("home", "uniform", "invented")
    assert len({(row["request_id"], row["slot"]) for row in rows}) == len(rows)


def test_days_follow_one_another(tables):
    days = [day for day, _ in tables]
    assert days == sorted({*days})
    for day, table in tables:
        assert table.schema == IMPRESSION_SCHEMA
        assert {time.date().isoformat() for time in table["timestamp"].to_pylist()} == {day}


def test_a_day_comes_in_tables_of_a_few_pages(listening, tables, monkeypatch):
    monkeypatch.setattr(impressions, "_PAGES", 3)
    parts = [*impression_tables(listening[1], listening[0], simulator().space, **NAMES)]
    assert max(len(table) for _, table in parts) == 3 * SLOTS
    for day, table in tables:
        assert pa.concat_tables([part for own, part in parts if own == day]).equals(table.combine_chunks())


def test_what_came_of_a_slot_is_what_the_events_say(listening, rows):
    """A page belongs to the session of the same name: its first play is of the slot that was picked, if one was."""
    log, pages = listening
    events = event_table(log, simulator().space, NAMES["prefix"]).to_pylist()
    played, saved = {}, set()
    for event in events:
        if event["action"] in ("play", "skip"):
            played.setdefault(event["session_id"], event)
        first = played[event["session_id"]]
        if event["action"] == "save" and event["content_id"] == first["content_id"]:
            saved.add(event["session_id"])
    by_request = {}
    for row in rows:
        by_request.setdefault(row["request_id"], []).append(row)
    assert by_request.keys() <= played.keys()
    picks = 0
    for request_id, page in by_request.items():
        event = played[request_id]
        for row in page:
            assert (row["user_id"], row["timestamp"]) == (event["user_id"], event["timestamp"])
            if not row["clicked"]:
                assert (row["played_ms"], row["skipped"], row["finished"], row["saved"]) == (0, False, False, False)
                continue
            picks += 1
            assert (row["chosen_id"], row["played_ms"]) == (event["content_id"], event["played_ms"])
            assert row["skipped"] == (event["action"] == "skip")
            assert row["finished"] == (event["action"] == "play" and event["played_ms"] >= 0.9 * 200_000)
            assert not row["saved"] or request_id in saved
        assert sum(row["clicked"] for row in page) <= 1
    assert picks == np.count_nonzero(pages.slot >= 0)
