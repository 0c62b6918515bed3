"""`towers serve` as the nightly cycle starts it: ready, or refused in a line, and never left running."""

import http.client
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import environment
from towers.errors import UserError
from towers.lifecycle import server_process
from towers.lifecycle.server_process import NotServed, check_installed, served_apart

pytestmark = pytest.mark.unhooked
GOLDEN = Path(__file__).parents[1] / "golden" / "format-4" / "export"
HOLDS_ONE = """
import sys, time
from pathlib import Path
from typing import Any
from towers.lifecycle.server_process import served_apart
with served_apart([Path(sys.argv[1])], 60.0) as (server,):
    print(server.process.pid, server.port, flush=True)
    time.sleep(300)
"""

SLOW = "import time; print('about to', flush=True); time.sleep(60)"


def has_ended(process: int) -> bool:
    """Returns whether a process is gone, or a zombie that no parent has waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_killed_process_leaves_no_server() -> None:
    program = [sys.executable, "-c", HOLDS_ONE, str(GOLDEN)]
    holder = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment())
    try:
        assert holder.stdout is not None
        server, port = map(int, holder.stdout.readline().split())
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        assert not has_ended(server)
    finally:
        holder.kill()
        holder.communicate()
    until = time.monotonic() + 10
    while not has_ended(server) and time.monotonic() < until:
        time.sleep(0.02)
    assert has_ended(server)


def test_a_server_that_does_not_start_is_told_by_its_last_line(tmp_path: Path) -> None:
    told = f"^{tmp_path.name}: towers serve ended with exit code 2: towers: {tmp_path}: no export here"
    with pytest.raises(NotServed, match=told), served_apart([tmp_path], 60.0):
        raise AssertionError


def test_a_server_that_is_not_ready_in_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Slow(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **settings: Any):
            super().__init__(
                [command[0], "-c", "import time; print('about to', flush=True); time.sleep(60)"], **settings
            )
            started.append(self)

    monkeypatch.setattr(server_process.subprocess, "Popen", Slow)
    told = r"^export: towers serve was not ready in time; its last line: about to"
    with pytest.raises(NotServed, match=told), served_apart([GOLDEN], 0.5):
        raise AssertionError
    assert started[0].returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)


def test_what_is_not_installed_is_told_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed("canaries.server")
    monkeypatch.setattr(server_process, "find_spec", lambda name: None if name == "fastapi" else name)
    with pytest.raises(
        UserError, match=r"^canaries\.server=true: .* fastapi, not .*'towers-rec\[serve\]', or canaries\.server=false"
    ):
        check_installed("canaries.server")
