"""`towers serve` as a user starts it: a process of its own."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.command_line import environment, refused
from tests.service.conftest import GOLDEN

pytestmark = pytest.mark.unhooked
GIVEN = f"export={GOLDEN}"


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], httpx2.Client]]:
    """A server on a free port, and a client of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "towers", "serve", GIVEN, "port=0", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving "), line + (process.stdout.read() or "")
        with httpx2.Client(base_url=line.split()[-1], timeout=30) as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.parametrize("arguments", [pytest.param((), marks=pytest.mark.slow), ("workers=2", "verify=full")])
def test_it_serves_until_it_is_interrupted(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with served(tmp_path, *arguments) as (process, client):
        version = client.get("/version").json()
        assert version["format"] == 1
        (user,) = client.get("/users", params={"k": 1}).json()["items"]
        assert client.get("/recommend", params={"user": user["user_id"]}).status_code == 200
        assert len(client.post("/embed", json={}).json()["vector"]) == version["dim"]
        assert client.get("/").status_code == 200
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said == "stopped\n"  # no access log, no traceback
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port={port}: cannot listen there" in refused(tmp_path, "serve", GIVEN, f"port={port}")
