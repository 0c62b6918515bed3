"""The log with one JSON object a line: a fixed set of fields, one write a line, and no secret."""

import json
import os
import resource
import subprocess
import sys
import time
from datetime import datetime

import pytest

from tests.lifecycle.watching.nights import ROWS, ledger_of, refused, told
from tests.lifecycle.watching.states import state_in
from towers.errors import UserError
from towers.lifecycle.watching.json_lines import JsonLines
from towers.training.stopping import Stopped

FIELDS = (
    "ts", "level", "event", "data", "experiment", "night", "version", "serving", "step", "seconds", "outcome", "error",
    "facts", "ending", "why", "towers", "pid",
)  # fmt: skip


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_night_is_a_line_for_each_of_its_moments(tmp_path):
    ledger, path = ledger_of(tmp_path), tmp_path / "nights.jsonl"
    told(JsonLines(str(path)), ledger, tmp_path)
    lines = lines_of(path)
    assert [(line["event"], line["step"]) for line in lines] == [
        ("ready", None), ("begun", None), ("step", "dry_run"), ("step", "prepare"), ("step", "evaluation"),
        ("ended", None),
    ]  # fmt: skip
    assert {tuple(line) for line in lines} == {FIELDS}
    assert {line["level"] for line in lines} == {"info"}
    assert all(datetime.fromisoformat(line["ts"]).tzinfo is not None for line in lines)
    assert lines[3]["facts"] == {"rows": ROWS}
    last = lines[-1]
    assert (last["ending"], last["why"], last["serving"], last["pid"]) == (
        "published",
        "published v2",
        "v1",
        os.getpid(),
    )
    assert last["seconds"] >= lines[3]["seconds"] >= 0
    told(JsonLines(str(path)), ledger, tmp_path)
    assert len(lines_of(path)) == 12  # appended


@pytest.mark.parametrize(
    ("error", "level", "outcome"), [(ValueError("odd"), "error", "failed"), (Stopped(15), "warning", "stopped")]
)
def test_how_a_step_ends_is_its_level(tmp_path, error, level, outcome):
    path = tmp_path / "nights.jsonl"
    told(JsonLines(str(path)), ledger_of(tmp_path), tmp_path, raises=error)
    step, end = lines_of(path)[-2:]
    assert (step["level"], step["outcome"], step["step"]) == (level, outcome, "evaluation")
    assert (end["level"], end["ending"], end["why"]) == (level, outcome, step["error"])


def test_a_refusal_is_a_warning(tmp_path):
    path = tmp_path / "nights.jsonl"
    refused(JsonLines(str(path)), ledger_of(tmp_path), tmp_path, "main_metric")
    step, end = lines_of(path)[-2:]
    assert (step["outcome"], end["ending"], end["level"], end["night"]) == (
        "refused",
        "refused",
        "warning",
        "2026-07-02-night",
    )


def test_a_roll_back_says_why(tmp_path):
    ledger, path = ledger_of(tmp_path), tmp_path / "nights.jsonl"
    record = ledger.remark(ledger.champion(), "put back", "wrong covers")
    JsonLines(str(path)).put_back(state_in(tmp_path, record=record))
    (line,) = lines_of(path)
    assert (line["event"], line["version"], line["why"], line["level"]) == ("put_back", "v1", "wrong covers", "warning")


def test_numbers_that_are_none_are_null_and_secrets_are_hidden(tmp_path, monkeypatch):
    """The secret has characters that JSON escapes."""
    monkeypatch.setenv("SOME_TOKEN", 'hunter"2\\hunterä')
    path = tmp_path / "nights.jsonl"
    error = ValueError('no such key: hunter"2\\hunterä')
    told(JsonLines(str(path)), ledger_of(tmp_path), tmp_path, raises=error, after=None)
    assert lines_of(path)[-1]["why"] == "ValueError: no such key: ***"
    assert "hunter" not in path.read_text()
    watcher = JsonLines(str(path))
    watcher._write("step", state_in(tmp_path), facts={"loss": float("nan"), "of": [float("inf"), 1.5]})
    assert lines_of(path)[-1]["facts"] == {"loss": None, "of": [None, 1.5]}


def test_standard_output_takes_the_lines(tmp_path, capsys):
    told(JsonLines("-"), ledger_of(tmp_path), tmp_path)
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()][-1] == "ended"


WRITER = """
import sys
from pathlib import Path
from tests.lifecycle.watching.test_json_lines import write
write(sys.argv[1], Path("."), "b")
"""


def write(path, folder, sign):
    watcher, state = JsonLines(path), state_in(folder)
    for number in range(50):
        watcher._write("step", state, facts={"text": sign * 5000, "number": number})


@pytest.mark.unhooked
def test_lines_of_two_processes_stand_whole(tmp_path):
    path = tmp_path / "nights.jsonl"
    path.touch()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as other:
        while not path.stat().st_size:  # it has begun
            assert other.poll() is None
            time.sleep(0.001)
        write(str(path), tmp_path, "a")
        assert other.wait(60) == 0
    lines = lines_of(path)
    for sign in "ab":
        numbers = [line["facts"]["number"] for line in lines if line["facts"]["text"] == sign * 5000]
        assert numbers == list(range(50))


def test_a_line_that_was_cut_spoils_no_other(tmp_path):
    """A full disk or a limit on the size of a process's files cuts a line."""
    path, limits = tmp_path / "nights.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    watcher, state = JsonLines(str(path)), state_in(tmp_path)
    watcher.ready(state)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"nights\.jsonl: a line was cut"):
            watcher.begun(state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    JsonLines(str(path)).ended(state)  # another process, which knows nothing of it
    whole, cut, last = path.read_text().splitlines()
    assert len(cut) == 20
    assert [json.loads(line)["event"] for line in (whole, last)] == ["ready", "ended"]


def test_a_pipe_that_nobody_reads_holds_no_night_up(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    watcher = JsonLines(str(pipe))
    with pytest.raises(UserError, match=r"^watchers\.json_lines\.path=.*/pipe: a pipe without a reader; start"):
        watcher.check()
    with pytest.raises(OSError, match="No such device"):
        watcher.ready(state_in(tmp_path))
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    watcher.check()
    watcher.ready(state_in(tmp_path))
    assert json.loads(os.read(reader, 10_000))["event"] == "ready"
    os.close(reader)


def test_what_lacks_is_told_before_the_night(tmp_path):
    JsonLines(str(tmp_path / "nights.jsonl")).check()
    JsonLines("-").check()
    assert not JsonLines(None).is_on
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match=r"^watchers\.json_lines\.path=.*/none/a\.jsonl: no folder"):
        JsonLines(str(tmp_path / "none" / "a.jsonl")).check()
    with pytest.raises(UserError, match=r"^watchers\.json_lines\.path=.*: is a folder"):
        JsonLines(str(tmp_path)).check()
