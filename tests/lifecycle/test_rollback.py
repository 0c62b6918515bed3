"""Rollbacks to an earlier version, on small real exports and in a real engine."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lifecycle.versions import (
    Killed,
    check_whole,
    copied,
    killed_at,
    ledger_in,
    night,
    quietly,
    states,
    version_in,
)
from tests.publishing.sink_export import change_manifest, sink_export
from towers.errors import UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.rollback import finish, roll_back
from towers.lifecycle.switching import publish, put_right
from towers.manifest import point_to
from towers.publishing.sinks.lancedb import LanceSink
from towers.publishing.sinks.sink import NoSink
from towers.retrieval.export import Export


@pytest.fixture
def ledger(tmp_path):
    """A ledger of three published nights."""
    found = ledger_in(tmp_path)
    for number in (1, 2, 3):
        night(found, number)
    return found


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


def back(ledger, to=None, why="too loud", sink=None):
    return roll_back(ledger, sink or NoSink(), to, why, quietly)


def test_the_version_before_is_back_at_once_and_the_bad_one_is_marked(ledger):
    start = time.process_time()
    told = back(ledger)
    assert time.process_time() - start < 1
    assert told == ["v3 is marked bad (too loud) and never published again; current moves BACK from it to v2"]
    assert ledger.served().name == "v2"
    assert states(ledger) == {"v3": "rejected", "v2": "champion", "v1": "retired"}
    bad, good = ledger.of_version("v3"), ledger.of_version("v2")
    assert [remark.event for remark in bad.remarks] == ["published", "marked bad", "rolled back"]
    assert [remark.event for remark in good.remarks] == ["published", "retired", "put back"]
    assert (bad.bar.why, bad.bar.weights) == ("too loud", "weights of v3")
    assert "@" in bad.bar.who


def test_the_same_command_again_goes_no_further_back(ledger):
    back(ledger)
    (told,) = back(ledger)
    assert "v2 serves: it was put back by " in told
    assert told.endswith("to=VERSION (v3 (rejected), v2 (champion), v1 (retired))")
    assert states(ledger)["v2"] == "champion"
    back(ledger, to="v1", why="")
    assert states(ledger) == {"v3": "rejected", "v2": "rejected", "v1": "champion"}
    assert ledger.of_version("v2").bar.why == "no reason was given"


def test_back_to_a_version_by_name(ledger):
    back(ledger, to="v1")
    assert states(ledger) == {"v3": "rejected", "v2": "retired", "v1": "champion"}
    night(ledger, 4)
    back(ledger)  # the one that served last, not the newest
    assert states(ledger) == {"v4": "rejected", "v3": "rejected", "v2": "retired", "v1": "champion"}


def test_what_does_not_open_is_passed_over(ledger):
    (ledger.exports / "v2" / "index" / "contents.faiss").write_bytes(b"")
    back(ledger)
    assert ledger.served().name == "v1"


def test_versions_of_the_same_weights_as_the_one_put_back(ledger):
    """A network was exported with spoilt data: that version is barred, and its weights are not."""
    change_manifest(ledger.exports / "v3", weights="weights of v2")
    back(ledger)
    assert ledger.served().name == "v2"
    assert (ledger.of_version("v3").bar.weights, ledger.of_version("v3").bar.source) == (None, "source of v3")


def test_what_serves_is_named_as_that_from_a_folder_of_ones_own(ledger, monkeypatch):
    """The paths of the configuration are relative to the folder."""
    monkeypatch.chdir(ledger.exports.parent)
    near = replace(ledger, exports=Path(ledger.exports.name))
    with pytest.raises(UserError, match=r"^to=v3: it serves already"):
        back(near, "v3")


def test_input_that_does_not_fit_changes_nothing(ledger):
    night(ledger, 4, published=False, verdict={"passed": False, "refused": ["coverage"]})
    version_in(ledger.exports, "damaged")
    (ledger.exports / "damaged" / "content_vectors.npy").unlink()
    there = r"there are: v4 \(rejected\), v3 \(champion\), v2 \(retired\), v1 \(retired\)$"
    messages = {
        "v9": "no such version in ", "current": "no such version", "../exports/v2": "no such version",
        "v3": "it serves already", "v4": "it has never served", "damaged": "content_vectors.npy",
    }  # fmt: skip
    before = {path: path.read_bytes() for path in ledger.folder.iterdir()}
    for name, message in messages.items():
        with pytest.raises(UserError, match=rf"^to={name}: .*{message}.*; {there}"):
            back(ledger, to=name)
    assert {path: path.read_bytes() for path in ledger.folder.iterdir()} == before
    assert ledger.served().name == "v3"
    back(ledger)
    night(ledger, 5)
    with pytest.raises(UserError, match=r"to=v3: v3 was marked bad by .* \(too loud\); there are"):
        back(ledger, to="v3")


def test_nothing_to_go_back_to(tmp_path):
    ledger = ledger_in(tmp_path)
    with pytest.raises(UserError, match=r"no version that served before and may serve again \(none\)"):
        back(ledger)
    night(ledger, 1)
    with pytest.raises(UserError, match=r"may serve again \(v1 \(champion\)\)"):
        back(ledger)
    assert ledger.of_version("v1").bar is None


def test_current_that_leads_nowhere(ledger):
    (ledger.exports / "v3").rename(ledger.exports / ".gone")
    assert back(ledger) == ["current moves to v2"]
    assert ledger.served().name == "v2"


def test_killed_anywhere(ledger, tmp_path_factory, monkeypatch):
    """Killed before each call of the file system, it leaves a `current` that opens, and the same command does the
    rest.
    """
    whole, folder = ledger, tmp_path_factory.mktemp("killed")
    for number in range(200):
        ledger = copied(whole, folder / str(number))
        is_done = killed_at(number, monkeypatch, lambda ledger=ledger: back(ledger))
        check_whole(ledger)
        if number % 3:
            back(ledger)
        else:  # the next night begins first
            finish(ledger, NoSink(), quietly)
            if ledger.served().name == "v3":  # nothing had been written down
                back(ledger)
        check_whole(ledger)
        assert states(ledger) == {"v3": "rejected", "v2": "champion", "v1": "retired"}
        events = [remark.event for remark in ledger.of_version("v2").remarks]
        assert events == ["published", "retired", "put back"]
        assert [remark.event for remark in ledger.of_version("v3").remarks][1:] == ["marked bad", "rolled back"]
        assert finish(ledger, NoSink(), quietly) == []
        if is_done:
            break
    assert 10 < number < 199


def interrupted(ledger, monkeypatch, moment=6):
    """Makes a rollback that has been written down, and nothing more."""
    assert not killed_at(moment, monkeypatch, lambda: back(ledger))
    assert (ledger.folder / ".rollback.json").exists()
    assert ledger.served().name == "v3"


class Engine(NoSink):
    """An engine that only knows which version it serves."""

    def __init__(self, version):
        self.version = version

    def served(self):
        return self.version

    def serve(self, export):
        self.version = export.version
        return f"engine: {export.version}"


def test_an_engine_that_serves_another_version_is_led_back(ledger):
    """A kill between engine and `current` leaves the other version there, and so does a rollback without the engine."""
    engine = Engine("v3")
    assert put_right(ledger, engine, quietly) == []
    back(ledger)
    told = put_right(ledger, engine, quietly)
    assert told == ["the engine served v3, which current does not lead to", "engine: v2"]
    assert (engine.version, ledger.served().name) == ("v2", "v2")
    assert put_right(ledger, Engine(None), quietly) == []


def test_a_version_that_was_published_since_stays(ledger, monkeypatch):
    interrupted(ledger, monkeypatch)
    point_to(ledger.exports / "current", version_in(ledger.exports, "v4"))
    assert finish(ledger, NoSink(), quietly) == [
        "v4 has been published since, and stays; to replace it, roll back once more"
    ]
    assert ledger.served().name == "v4"
    assert ledger.of_version("v3").bar.why == "too loud"
    assert finish(ledger, NoSink(), quietly) == []


def test_what_was_to_be_put_back_is_gone(ledger, monkeypatch):
    interrupted(ledger, monkeypatch)
    (ledger.exports / "v2").rename(ledger.exports / ".gone")
    with pytest.raises(UserError, match=r"v2: no export here.*another version can be put back: .*to=VERSION"):
        back(ledger)
    back(ledger, to="v1")
    assert states(ledger) == {"v3": "rejected", "v2": "retired", "v1": "champion"}
    assert finish(ledger, NoSink(), quietly) == []


class TestWithAnEngine:
    @pytest.fixture
    def sink(self, tmp_path):
        return LanceSink(
            uri=str(tmp_path / "lance"), prefix="towers", batch_size=64, min_indexed=9_999, keep=3, dim=None
        )

    @pytest.fixture
    def filled(self, tmp_path, sink):
        found = Ledger(folder=tmp_path / "nights" / "small", exports=tmp_path / "exports", runs=tmp_path / "runs")
        for version in ("v1", "v2"):
            export = sink_export(found.exports, version)
            change_manifest(export.folder, weights=version)
            with found.alone():
                sink.fill(export, quietly)
                publish(found, sink, Export(export.folder), quietly, champion=found.champion())
        return found

    def test_goes_back_with_it_in_less_than_a_second(self, filled, sink):
        start = time.process_time()
        told = roll_back(filled, sink, None, "too loud", pytest.fail)
        assert time.process_time() - start < 1
        assert told[-1].endswith("towers_current leads to v1")
        assert sink.served() == filled.served().name == "v1"

    def test_a_table_that_is_gone_is_filled_again(self, filled, sink):
        import lancedb

        lancedb.connect(sink._uri).drop_table("towers_users_v1")
        told = back(filled, sink=sink)
        assert any("towers_users_v1: not there" in line and line.endswith("it is filled again") for line in told)
        assert sink.served() == filled.served().name == "v1"

    def test_an_engine_that_refuses_leaves_current(self, filled, sink, monkeypatch):
        def refuse(export):
            raise UserError("sink.uri=x: no answer")

        with monkeypatch.context() as patch:
            patch.setattr(sink, "serve", refuse)
            message = "no answer; the same command goes on, with sink=none without the engine"
            with pytest.raises(UserError, match=message):
                back(filled, sink=sink)
        assert sink.served() == filled.served().name == "v2"
        told = back(filled, sink=sink)
        assert told[0] == "continues a rollback that was interrupted"
        assert sink.served() == filled.served().name == "v1"

    def test_killed_between_the_engine_and_current(self, filled, sink, monkeypatch):
        def dying(link, target):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr("towers.lifecycle.switching.point_to", dying)
            with pytest.raises(Killed):
                back(filled, sink=sink)
        assert (sink.served(), filled.served().name) == ("v1", "v2")
        finish(filled, sink, quietly)
        assert sink.served() == filled.served().name == "v1"


def test_two_at_once_do_not_go_two_steps_back(ledger):
    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(lambda _: back(ledger)[0], range(2)))
    assert sorted(line.split()[1] for line in told) == ["is", "serves:"]
    assert states(ledger) == {"v3": "rejected", "v2": "champion", "v1": "retired"}
