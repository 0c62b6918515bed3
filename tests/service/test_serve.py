"""`towers serve` as a user starts it, in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.command_line import environment, refused
from tests.notified import inbox
from tests.service.conftest import GOLDEN

pytestmark = pytest.mark.unhooked
GIVEN = f"export={GOLDEN}"


HANGS = """
import sys, time
from pathlib import Path
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.service import server


class Hanging(server.Serving):
    def app(self, *given):
        app = super().app(*given)
        app.get("/hangs")(lambda: time.sleep(600))
        return app


server.LAST_S = 1.0
limits = instantiate(compose("serve", []).limits, "limits")
serving = Hanging(
    export=Path(sys.argv[1]), audio_root=None, lists=None, verify="manifest", watch_s=1.0, threads=4, limits=limits,
    stopping_s=1,
)
server.serve(serving, "127.0.0.1", 0, 1, False)
"""


@contextmanager
def served(
    folder: Path,
    *arguments: str,
    program: tuple[str, ...] = ("-m", "towers", "serve", GIVEN, "port=0"),
    **variables: str,
) -> Iterator[tuple[subprocess.Popen[str], httpx2.Client]]:
    """A server on a free port, and a client of it."""
    process = subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment() | variables,
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


def address_of(client: httpx2.Client) -> tuple[str, int | None]:
    return client.base_url.host, client.base_url.port


@contextmanager
def asking_for_a_vector(client: httpx2.Client) -> Iterator[Callable[[], bytes]]:
    """Sends half of the body of a request; yields a function that sends the rest and returns the answer."""
    with socket.create_connection(address_of(client), timeout=20) as connection:
        connection.sendall(b"POST /embed HTTP/1.1\r\nHost: towers\r\nContent-Type: application/json\r\n")
        connection.sendall(b"Content-Length: 2\r\n\r\n{")

        def ends() -> bytes:
            connection.sendall(b"}")
            return b"".join(iter(lambda: connection.recv(65_536), b""))

        yield ends


def samples(client: httpx2.Client) -> list[Sample]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return [sample for family in families for sample in family.samples]


def told(client: httpx2.Client, name: str, **labels: str) -> float:
    found = [
        one for one in samples(client) if one.name == f"towers_server_{name}" and labels.items() <= one.labels.items()
    ]
    return sum(one.value for one in found)


def processes(client: httpx2.Client) -> set[int]:
    return {int(one.labels["pid"]) for one in samples(client) if one.name == "process_resident_memory_bytes"}


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    with served(tmp_path) as (process, client):
        assert client.get("/version").json()["format"] == 1
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said == "stopped\n"
    assert list(tmp_path.iterdir()) == []


def test_several_processes_serve_as_one(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with (
        inbox(tmp_path) as manager,
        served(
            tmp_path, "workers=2", "verify=full",
            NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="60000000", TMPDIR=str(scratch),
        ) as (process, client),
    ):  # fmt: skip
        version = client.get("/version").json()
        assert version["format"] == 1
        (user,) = client.get("/users", params={"k": 1}).json()["items"]
        assert client.get("/recommend", params={"user": user["user_id"]}).status_code == 200
        assert len(client.post("/embed", json={}).json()["vector"]) == version["dim"]
        assert client.get("/").status_code == 200

        lines = manager.wait_for(lambda lines: "WATCHDOG=1" in lines)
        assert f"STATUS=serving {version['version']} (space {version['space_id']}) by 2 processes" in lines
        assert lines.count("READY=1") == 1
        for _ in range(10):
            assert httpx2.get(client.base_url.join("version")).status_code == 200
        for _ in range(5):  # any of the processes may answer
            assert told(client, "requests_total", route="/version") == 11
        assert told(client, "workers", version=version["version"]) == 2
        first = processes(client)
        assert len(first) == 2

        os.kill(min(first), signal.SIGKILL)
        with httpx2.Client(base_url=client.base_url, timeout=30) as after:  # the other's connection may be gone
            wait_until(lambda: len(processes(after) - {min(first)}) == 2)
            assert told(after, "workers") == 2
            assert told(after, "requests_total", route="/version") == 11  # counts of the process that is gone stay
            assert told(after, "requests_in_flight") == 1

            with asking_for_a_vector(client) as ends:
                wait_until(lambda: told(after, "requests_in_flight") == 2)
                process.send_signal(signal.SIGTERM)
                manager.wait_for(lambda lines: "STOPPING=1" in lines)
                time.sleep(0.7)  # until all processes know
                assert ends().startswith(b"HTTP/1.1 200 OK")
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said == "stopped\n"  # no access log, no traceback
    assert [path for path in scratch.iterdir() if "towers" in path.name] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notify", "scratch"]


@pytest.mark.slow
def test_what_is_under_way_is_answered_and_what_hangs_is_left(tmp_path: Path) -> None:
    with served(tmp_path, str(GOLDEN), program=("-c", HANGS)) as (process, client):
        with asking_for_a_vector(client) as ends, socket.create_connection(address_of(client)) as hanging:
            hanging.sendall(b"GET /hangs HTTP/1.1\r\nHost: towers\r\n\r\n")
            wait_until(lambda: told(client, "requests_in_flight") == 3)
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert ends().startswith(b"HTTP/1.1 200 OK")
        said, _ = process.communicate(timeout=30)
        assert 1 <= time.monotonic() - begun < 10
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("towers: a request is still under way 1 seconds after it was given up")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port={port}: cannot listen there" in refused(tmp_path, "serve", GIVEN, f"port={port}")
