"""Records of nights and versions, of which no kill leaves a false one."""

import os

import pytest

from tests.lifecycle.versions import (
    check_whole,
    copied,
    killed_at,
    ledger_in,
    night,
    quietly,
    states,
    version_in,
)  # fmt: skip
from tests.publishing.sink_export import change_manifest
from towers.errors import Unreachable, UserError
from towers.lifecycle.history import history_table, rows_of, verdict_word
from towers.lifecycle.ledger import ledgers, night_name, why_barred_anywhere
from towers.lifecycle.record import Record
from towers.lifecycle.switching import publish
from towers.manifest import point_to, read_json
from towers.publishing.sinks.sink import NoSink
from towers.retrieval.export import Export


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def ledger(tmp_path):
    return ledger_in(tmp_path)


def test_states_follow_from_what_is_on_disk(ledger):
    for number in (1, 2):
        night(ledger, number)
    night(ledger, 3, published=False)
    night(ledger, 4, published=False, verdict={"passed": False, "refused": ["coverage"]})
    assert states(ledger) == {"v4": "rejected", "v3": "candidate", "v2": "champion", "v1": "retired"}
    point_to(ledger.exports / "current", ledger.exports / "v1")
    assert states(ledger) == {"v4": "rejected", "v3": "candidate", "v2": "retired", "v1": "champion"}
    (ledger.exports / "current").unlink()
    assert states(ledger)["v1"] == "retired"


def test_a_record_comes_back_as_it_was(ledger):
    night(ledger, 1, metrics={"recall@20": 0.25}, space_told="to another space")
    (record,) = ledger.records()
    assert Record.from_json(record.to_json()) == record
    assert Record.from_json(record.to_json() | {"of a newer Towers": 1}) == record
    assert [remark.event for remark in record.remarks] == ["published"]


def test_a_version_published_by_hand_gets_a_record(ledger):
    night(ledger, 1)
    point_to(ledger.exports / "current", version_in(ledger.exports, "by-hand"))
    with ledger.alone():
        assert ledger.settle().version == "by-hand"
        again = [record.to_json() for record in ledger.records()]
        ledger.settle()
    assert [record.to_json() for record in ledger.records()] == again
    assert states(ledger) == {"by-hand": "champion", "v1": "retired"}
    assert [remark.event for remark in ledger.of_version("v1").remarks] == ["published", "retired"]


def test_killed_anywhere_while_it_publishes(ledger, tmp_path_factory, monkeypatch):
    """Killed before each call of the file system, it leaves all files readable, and the same call again ends well."""
    whole, folder = ledger, tmp_path_factory.mktemp("killed")
    night(whole, 1)
    night(whole, 2, published=False)
    for number in range(100):
        ledger = copied(whole, folder / str(number))

        def work(ledger=ledger):
            with ledger.alone():
                publish(ledger, NoSink(), Export(ledger.exports / "v2"), quietly, champion=ledger.of_version("v1"))

        is_done = killed_at(number, monkeypatch, work)
        check_whole(ledger)
        work()
        check_whole(ledger)
        assert states(ledger) == {"v2": "champion", "v1": "retired"}
        assert [remark.event for remark in ledger.of_version("v1").remarks] == ["published", "retired"]
        assert ledger.of_version("v2").remarks[-1].event in ("published", "found serving")
        if is_done:
            break
    assert 5 < number < 99


def test_what_was_compared_with_another_than_serves_is_not_published(ledger):
    """An operator has rolled back while the night went on."""
    for number in (1, 2):
        night(ledger, number)
    night(ledger, 3, published=False)
    point_to(ledger.exports / "current", ledger.exports / "v1")
    for champion in (ledger.of_version("v2"), None):
        with pytest.raises(Unreachable, match="v3: is not published, for v1 serves by now"):
            publish(ledger, NoSink(), Export(ledger.exports / "v3"), quietly, champion=champion)
    with ledger.alone():
        publish(ledger, NoSink(), Export(ledger.exports / "v3"), quietly, champion=ledger.champion(), forced="a party")
    events = [(remark.event, remark.why) for remark in ledger.of_version("v3").remarks]
    assert events == [("forced", "a party"), ("published", "a party")]


def test_what_was_marked_bad_is_never_published_again(ledger, tmp_path):
    for number in (1, 2):
        night(ledger, number)
    with ledger.alone():
        ledger.mark_bad(ledger.of_version("v2"), "gives silence", "anna@box", {})
        marked = ledger.of_version("v2")
        assert ledger.mark_bad(marked, "said twice", "bert@box", {}) == marked
    point_to(ledger.exports / "current", ledger.exports / "v1")
    night(ledger, 3, published=False)
    assert states(ledger) == {"v3": "candidate", "v2": "rejected", "v1": "champion"}
    others = {
        "v2": {},
        "v9": {"weights": "weights of v2"},
        "v8": {"source": "source of v2"},
        "v2-1": {"replaces": "v2"},
    }
    for name, facts in others.items():
        export = Export(ledger.exports / "v2" if name == "v2" else version_in(ledger.exports, name, **facts))
        with pytest.raises(UserError, match=rf"{name}: is not published, .*marked bad by anna@box at .*gives silence"):
            publish(ledger, NoSink(), export, quietly, champion=ledger.champion())
        assert (
            why_barred_anywhere(tmp_path / "nights", export.manifest) == ledger.why_barred(export.manifest) is not None
        )
    assert ledger.why_barred(read_json(ledger.exports / "v3" / "manifest.json")) is None
    assert ledger.served().name == "v1"


def test_what_does_not_open_is_not_led_to(ledger):
    """Force does not publish it either."""
    night(ledger, 9, published=False)
    export = Export(ledger.exports / "v9")
    (export.folder / "index" / "contents.faiss").write_bytes(b"")
    served = ledger.served()
    with ledger.alone(), pytest.raises(UserError, match="v9"):
        publish(ledger, NoSink(), export, quietly, champion=ledger.champion(), forced="in a hurry")
    assert ledger.served() == served


def test_a_version_without_some_listeners_has_the_record_of_the_one_before(ledger):
    for number in (1, 2):
        night(ledger, number)
    (ledger.exports / "v2").rename(ledger.exports / "v2-3")
    change_manifest(ledger.exports / "v2-3", version="v2-3", replaces="v2-2")
    point_to(ledger.exports / "current", ledger.exports / "v2-3")
    assert states(ledger) == {"v2": "champion", "v1": "retired"}
    assert ledger.champion() == ledger.of_version("v2-3") == ledger.of_version("v2")


def test_a_clock_that_was_put_back_changes_no_order(ledger, monkeypatch):
    night(ledger, 1)
    path = ledger.folder / "2026-07-01-night.json"
    path.write_text(path.read_text().replace('"when": "20', '"when": "21'))
    night(ledger, 2)
    assert ledger.of_version("v2").serving_s > ledger.of_version("v1").serving_s
    point_to(ledger.exports / "current", ledger.exports / "v1")
    assert [entry.record.version for entry in ledger.retired()] == ["v2"]


def test_a_record_that_is_none_is_named(ledger):
    night(ledger, 1)
    (ledger.folder / "x.json").write_text('{"remarks": []}')
    with pytest.raises(UserError, match=r"x\.json: not a night's record .*restore the file, or move it away"):
        ledger.records()


def test_names_of_nights_follow_from_their_facts():
    assert night_name("2026-07-28T23:00:00+00:00", "store", "run").startswith("20260728-")
    assert night_name(None, "store") == night_name(None, "store") != night_name(None, "other")


def test_history(ledger, tmp_path):
    for number in (1, 2):
        night(ledger, number)
    night(ledger, 3, published=False, version=None, verdict={"passed": False, "refused": ["coverage", "too_good"]})
    rows = rows_of(ledger.entries(), "recall@20")
    assert [row[:5] for row in rows] == [
        ("none of night 2026-07-03-night", "rejected", "2026-07-03T23:00", "0.3000", "refused by coverage, too_good"),
        ("v2", "champion", "2026-07-02T23:00", "0.2000", "passed"),
        ("v1", "retired", "2026-07-01T23:00", "0.1000", "passed"),
    ]
    assert rows[1][5].startswith("published 20")
    shown = history_table(ledger.entries(), "recall@20")
    assert [column.header for column in shown.columns][:5] == ["version", "state", "data until", "recall@20", "gate"]
    assert shown.row_count == 3
    assert verdict_word(Record(night="n", verdict={"refused": ["a"], "forced": {"why": "b"}})) == "forced past a"
    assert verdict_word(Record(night="n")) == "not asked"
    assert [each.folder for each in ledgers(tmp_path / "nights", ledger.exports, ledger.runs)] == [ledger.folder]
