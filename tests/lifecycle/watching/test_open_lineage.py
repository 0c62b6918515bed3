"""OpenLineage's events: one run for each step below that of the night, with its inputs, outputs and assertions."""

import json
import socket
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import pytest
from openlineage.client.event_v2 import RunState

from tests.lifecycle.versions import version_in
from tests.lifecycle.watching.hooks import listening, within
from tests.lifecycle.watching.lineage import read_event
from tests.lifecycle.watching.nights import ledger_of, verdict
from tests.lifecycle.watching.states import state_in
from towers.errors import GateRefused, UserError
from towers.lifecycle.record import Record
from towers.lifecycle.watching.open_lineage import OpenLineage
from towers.lifecycle.watching.watcher import Watch, serving
from towers.training.stopping import Stopped

START, COMPLETE, FAIL, ABORT = RunState.START, RunState.COMPLETE, RunState.FAIL, RunState.ABORT


def watching(**keys):
    settings = {
        "file": None, "url": None, "api_key_from": None, "namespace": "towers", "nominal_time": None, "timeout_s": 2.0,
        "retries": 0, "at_most_s": 5.0,
    } | keys  # fmt: skip
    return OpenLineage(**settings)


@pytest.fixture
def events_of(tmp_path, store):
    """Runs a night with a file of events; returns the events, read back."""
    ledger = ledger_of(tmp_path)

    def run(raises=None, at="publish", said=None, **keys):
        watcher = watching(**({"file": str(tmp_path / "lineage.jsonl")} | keys))
        for name in ("rival", "twin", "refit"):
            (tmp_path / "runs" / "demo" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "runs" / "demo" / name / "last.ckpt").write_bytes(bytes(10))
        if not (ledger.exports / "v2").exists():
            version_in(ledger.exports, "v2", counts={"contents": 4, "users": 1})
        record = Record(night="2026-07-02-night", verdict=said or verdict())
        ledger.write(record)
        runs = tmp_path / "runs" / "demo"
        made = {
            "prepare": {"store": store.folder, "record": record, "rival": "v1", "rival_twin": runs / "rival"},
            "twin": {"twin": runs / "twin"},
            "evaluation": {"evaluation": runs / "twin"},
            "refit": {"refit": runs / "refit"},
            "export": {"export": ledger.exports / "v2"},
            "publish": {"ending": "published"},
        }  # fmt: skip
        watch = Watch({"openlineage": watcher}, state_in(tmp_path))
        try:
            with watch.process(ledger), watch.night(ledger):
                for name in (
                    "dry_run", "prepare", "data_check", "twin", "evaluation", "refit", "export", "server", "publish",
                ):  # fmt: skip
                    with watch.step(name):
                        if name == at and raises is not None and name != "export":
                            raise raises
                        watch.knows(**made.get(name, {}))
                        if name == at and raises is not None:
                            raise raises
        except BaseException as error:
            assert error is raises  # noqa: PT017 - where nothing is to be raised nothing may be
        return [read_event(line) for line in (tmp_path / "lineage.jsonl").read_text().splitlines()]

    return run


def told(events):
    return [(event.eventType, event.job.name.removeprefix("retrain.small")) for event in events]


def one(events, kind, job):
    (found,) = [event for event in events if (event.eventType, event.job.name) == (kind, job)]
    return found


def test_a_night_is_a_run_with_a_run_for_each_step_that_makes_something(events_of, tmp_path, store, capsys):
    events = events_of()
    assert capsys.readouterr().err == ""
    assert told(events) == [
        (START, ""), (START, ".prepare"), (COMPLETE, ".prepare"), (START, ".gate"), (START, ".twin"),
        (COMPLETE, ".twin"), (START, ".evaluation"), (COMPLETE, ".evaluation"), (START, ".refit"), (COMPLETE, ".refit"),
        (START, ".export"), (COMPLETE, ".export"), (COMPLETE, ".gate"), (START, ".publish"), (COMPLETE, ".publish"),
        (COMPLETE, ""),
    ]  # fmt: skip
    night = events[0].run.runId
    assert UUID(night).version == 7
    assert {count for count in Counter(event.run.runId for event in events).values()} == {2}
    for event in events:
        assert event.job.namespace == "towers"
        assert event.job.facets["jobType"].integration == "TOWERS"
        assert event.run.facets["processing_engine"].name == "towers"
        if event.run.runId != night:
            assert event.run.facets["parent"].run.runId == night
            assert event.run.facets["parent"].job.name == "retrain.small"
    again = events_of()[len(events) :]
    assert not {event.run.runId for event in again} & {event.run.runId for event in events}


def test_what_is_read_and_made(events_of, tmp_path, store):
    events = events_of()
    place, root = f"file://{socket.gethostname()}", str(tmp_path)
    edges = {}
    for event in events:
        if event.eventType == COMPLETE:
            sides = []
            for side in (event.inputs, event.outputs):
                assert {each.namespace for each in side} <= {place}
                sides.append([each.name.removeprefix(root) for each in side])
            edges[event.job.name.removeprefix("retrain.small")] = tuple(sides)
    prepared = str(store.folder.parent)
    raw = [one(events, START, "retrain.small").inputs[0].name]
    twin, refit, rival = (f"/runs/demo/{name}" for name in ("twin", "refit", "rival"))
    assert edges == {
        ".prepare": (raw, [prepared]),
        ".twin": ([prepared, rival], [twin]),
        ".evaluation": ([prepared, twin, rival], [twin]),
        ".refit": ([prepared, twin], [refit]),
        ".export": ([prepared, refit, "/exports/v1"], ["/exports/v2"]),
        ".gate": (["/exports/v2", twin, prepared], []),
        ".publish": (["/exports/v2"], ["/exports/current"]),
        "": (raw, ["/exports/current"]),
    }
    (out,) = one(events, COMPLETE, "retrain.small.prepare").outputs
    assert out.facets["version"].datasetVersion == store.fingerprint
    tables = {field.name: {each.name: each.type for each in field.fields} for field in out.facets["schema"].fields}
    assert tables["contents.arrow"]["content_id"] == "string"
    made = out.outputFacets["outputStatistics"]
    assert made.rowCount == store.manifest["counts"]["events"]
    assert (made.size, made.fileCount) == (
        sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file()),
        sum(path.is_file() for path in store.folder.rglob("*")),
    )
    (out,) = one(events, COMPLETE, "retrain.small.export").outputs
    assert out.outputFacets["outputStatistics"].rowCount == 5  # four contents, one listener
    (out,) = one(events, COMPLETE, "retrain.small.twin").outputs
    assert (out.outputFacets["outputStatistics"].rowCount, out.outputFacets["outputStatistics"].size) == (None, 10)


def test_the_gate_asserts_of_the_export(events_of):
    events = events_of(said=verdict("norms", forced={"why": "on purpose", "who": "me"}))
    export, *others = one(events, COMPLETE, "retrain.small.gate").inputs
    found = export.inputFacets["dataQualityAssertions"].assertions
    assert [(each.assertion, each.success, each.severity, each.expected) for each in found] == [
        ("honest", True, "error", None), ("norms", False, "warn", "0.2"),
    ]  # fmt: skip
    assert [other.inputFacets for other in others] == [{}, {}]


def test_a_refusal_fails_the_gate_and_not_the_step(events_of):
    events = events_of(GateRefused("v2 is refused by norms; current stays at v1"), "export", verdict("norms"))
    assert told(events)[-3:] == [(COMPLETE, ".export"), (FAIL, ".gate"), (FAIL, "")]
    for event in events[-2:]:
        assert event.run.facets["errorMessage"].message == "v2 is refused by norms; current stays at v1"
    assert events[-1].outputs == []
    assert [each.success for each in events[-2].inputs[0].inputFacets["dataQualityAssertions"].assertions] == [
        True,
        False,
    ]


@pytest.mark.parametrize(("error", "ends"), [(ValueError("odd hunter2hunter2"), FAIL), (Stopped(15), ABORT)])
def test_an_error_fails_and_a_signal_aborts(events_of, error, ends, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hunter2hunter2")
    events = events_of(error, "twin")
    assert told(events)[-3:] == [(ends, ".twin"), (ABORT, ".gate"), (ends, "")]
    assert events[-3].outputs == []
    message = events[-1].run.facets["errorMessage"].message
    assert message == {FAIL: "ValueError: odd ***", ABORT: "stopped by SIGTERM"}[ends]


def test_a_roll_back_is_a_run_of_its_own(tmp_path):
    ledger, path = ledger_of(tmp_path), tmp_path / "lineage.jsonl"
    watching(file=str(path)).put_back(state_in(tmp_path, serving=serving(ledger)))
    start, end = (read_event(line) for line in path.read_text().splitlines())
    assert [(each.eventType, each.job.name) for each in (start, end)] == [
        (START, "rollback.small"), (COMPLETE, "rollback.small"),
    ]  # fmt: skip
    assert end.outputs[0].name == str(ledger.exports / "current")
    assert end.outputs[0].facets["version"].datasetVersion == "v1"


def test_the_time_of_a_schedule_and_addresses_of_stores(tmp_path):
    path = tmp_path / "lineage.jsonl"
    state = state_in(tmp_path)
    watching(file=str(path), nominal_time="2026-07-14T02:15:00").begun(state)
    (event,) = map(read_event, path.read_text().splitlines())
    assert datetime.fromisoformat(event.run.facets["nominalTime"].nominalStartTime) == datetime(
        2026, 7, 14, 2, 15, tzinfo=UTC
    )
    from towers.lifecycle.watching.lineage_datasets import named

    assert named("abfs://raw@account.dfs.core.windows.net/plays/") == (
        "abfs://raw@account.dfs.core.windows.net",
        "plays",
    )
    assert named("s3://bucket") == ("s3://bucket", "/")


def test_a_server_gets_them_in_their_order(events_of, monkeypatch):
    monkeypatch.setenv("LINEAGE", "a key of theirs")
    with listening() as server:
        written = events_of(url=server.url, api_key_from="LINEAGE")
    assert {path for path, _, _ in server.got} == {"/api/v1/lineage"}
    assert {headers["Authorization"] for _, headers, _ in server.got} == {"Bearer a key of theirs"}
    assert [read_event(body) for _, _, body in server.got] == written
    assert not [body for _, _, body in server.got if b"theirs" in body]


def test_a_server_that_comes_back_gets_the_rest(events_of, monkeypatch, capsys):
    """The first event is tried three times, each further one once, until the server takes one."""
    from towers.lifecycle.watching import sending

    monkeypatch.setattr(sending.time, "sleep", lambda seconds: None)
    with listening(*[(503, {})] * 4, (429, {}), (200, {})) as server:
        written = events_of(url=server.url, retries=2)
        got = [read_event(body) for _, _, body in server.got]
    assert got == [written[0], written[0], *written]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "watchers.openlineage: 3 of 16 events did not reach the server: the answer was 429; the night goes on"
    )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((0, {}), r"1[56] of 16 events did not reach the server: no answer"),
        ((403, {}), r"16 of 16 .*: the answer was 403"),
    ],
)
def test_a_server_that_does_not_take_them_holds_nobody_up(events_of, capsys, answer, why):
    import re

    with listening(answer) as server, within(3):
        assert len(events_of(url=server.url, timeout_s=0.2, at_most_s=0.5)) == 16
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"watchers\.openlineage: {why}.*; the night goes on", line)


def test_what_lacks_is_told_before_the_night(tmp_path, monkeypatch):
    assert not watching().is_on
    watching(file=str(tmp_path / "lineage.jsonl"), url="http://localhost:5000").check()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"^watchers\.openlineage\.file=.*: no folder"):
        watching(file=str(tmp_path / "none" / "a.jsonl")).check()
    for wrong in ("http://name:word@host", "http://host:port", "http://[", "marquez:5000"):
        with pytest.raises(UserError, match=r"^watchers\.openlineage\.url: give"):
            watching(url=wrong).check()
    monkeypatch.delenv("LINEAGE", raising=False)
    with pytest.raises(UserError, match=r"^watchers\.openlineage\.api_key_from=LINEAGE: no such environment"):
        watching(url="http://host", api_key_from="LINEAGE").check()
    with pytest.raises(UserError, match=r"^watchers\.openlineage\.nominal_time=tonight: no time"):
        watching(nominal_time="tonight")


def test_what_does_not_fit_the_library_is_found(events_of, tmp_path):
    """The reader of this file's events does find faults."""
    events_of()
    line = json.loads((tmp_path / "lineage.jsonl").read_text().splitlines()[2])
    for change in (
        lambda event: event["run"].update(runId="7"),
        lambda event: event.update(eventType="DONE"),
        lambda event: event["job"].pop("namespace"),
        lambda event: event["outputs"][0]["outputFacets"]["outputStatistics"].update(rowCount="20"),
        lambda event: event["outputs"][0]["facets"]["version"].update(of=1),
        lambda event: event["outputs"][0]["facets"]["version"].pop("datasetVersion"),
    ):
        broken = json.loads(json.dumps(line))
        change(broken)
        with pytest.raises((AssertionError, TypeError, ValueError)):
            read_event(json.dumps(broken))
