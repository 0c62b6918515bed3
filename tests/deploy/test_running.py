"""Commands that deploy/night runs for an orchestrator: no failure of the orchestrator ends them."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, REFUSED, TERMINATED

sys.path.insert(0, str(DEPLOY / "night"))
import towers_night  # it lies beside the package

TALKS_ON_SIGTERM = "trap 'seq 40000; exit 143' TERM; echo up; sleep 20 & wait $!"


class Interrupted(BaseException):
    """The kind of interruption that orchestrators raise, which is no `Exception`."""


def running(folder: Path, script: str, told) -> towers_night.Running:
    return towers_night.Running(("bash", "-c", script), folder, told)


def test_a_line_that_cannot_be_written_ends_no_night(tmp_path):
    seen = []

    def told(line: str) -> None:
        seen.append(line)
        if line == "b":
            raise RuntimeError("database is locked")

    running(tmp_path, "echo a; echo b; sleep .1; printf c", told).wait()
    assert seen == ["a", "b", "c"]


def test_a_command_that_says_much_after_an_interruption_ends(tmp_path):
    """The output is more than a pipe holds."""
    seen = []

    def told(line: str) -> None:
        seen.append(line)
        if line == "up":
            raise Interrupted

    began = time.monotonic()
    with pytest.raises(Interrupted):
        running(tmp_path, TALKS_ON_SIGTERM, told).wait()
    assert time.monotonic() - began < 10
    assert seen[-1] == "40000"


def test_a_command_that_is_told_to_end_says_its_last_lines(tmp_path):
    command = running(tmp_path, TALKS_ON_SIGTERM, lambda _: None)
    threading.Timer(0.2, command.stop).start()
    with pytest.raises(towers_night.NightFailed, match="39997\n39998\n39999\n40000") as failed:
        command.wait()
    assert (failed.value.code, failed.value.is_final) == (TERMINATED, False)


def test_a_refusal_is_final(tmp_path):
    with pytest.raises(towers_night.NightFailed) as failed:
        running(tmp_path, f"exit {REFUSED}", print).wait()
    assert failed.value.is_final


def test_a_command_outlives_whoever_has_started_it(tmp_path):
    """The command prints a line after its parent was killed, and goes on."""
    script = "echo up; while [ ! -e killed ]; do sleep .02; done; echo still here; echo and here; touch done"
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(DEPLOY / "night")!r})
import towers_night
towers_night.Running(("bash", "-c", {script!r}), Path({str(tmp_path)!r}), lambda line: print(line, flush=True)).wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        parent.send_signal(signal.SIGKILL)
    (tmp_path / "killed").touch()
    ends = time.monotonic() + 10
    while not (tmp_path / "done").exists():
        assert time.monotonic() < ends
        time.sleep(0.02)
    (log,) = (tmp_path / "logs").iterdir()
    assert log.read_text() == "up\nstill here\nand here\n"


def test_logs_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr(towers_night, "KEPT_LOGS", 2)
    for word in ("a", "b", "c"):
        running(tmp_path, f"echo {word}", lambda _: None).wait()
    assert [log.read_text() for log in sorted((tmp_path / "logs").iterdir())] == ["b\n", "c\n"]
