"""The messages of sd_notify, received by a real socket."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.notified import Inbox, inbox
from towers.systemd import MOST_CHARACTERS, SEND_S, Notifier, without_notifying


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inbox]:
    with inbox(tmp_path if request.param == "a path" else None) as listening:
        yield listening


def test_all_that_is_told(manager: Inbox) -> None:
    notifier = Notifier.of_environment({"NOTIFY_SOCKET": manager.address})
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    assert notifier.is_asked
    assert all(
        (notifier.status("opening\na  version"), notifier.ready(), notifier.alive(), notifier.extend(1.5),
         notifier.reloading(), notifier.stopping())
    )  # fmt: skip
    assert len(manager.lines) == 7
    *told, (reloads, at), stops = manager.told
    assert told == [["STATUS=opening a version"], ["READY=1"], ["WATCHDOG=1"], ["EXTEND_TIMEOUT_USEC=1500000"]]
    assert (reloads, stops) == ("RELOADING=1", ["STOPPING=1"])
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= before + 60_000_000


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="systemd is not installed")
def test_systemds_own_program_sends_the_same(manager: Inbox) -> None:
    told = ["systemd-notify", "--no-block", "--ready", "--status=step 4 of 10", "WATCHDOG=1"]
    subprocess.run(told, env={**os.environ, "NOTIFY_SOCKET": manager.address}, check=True, timeout=10)
    theirs = {line for line in manager.lines if not line.startswith("MAINPID=")}
    manager.clear()
    notifier = Notifier(manager.address, None)
    notifier.ready(), notifier.status("step 4 of 10"), notifier.alive()
    assert set(manager.lines) == theirs


def test_a_status_is_one_short_line(manager: Inbox) -> None:
    Notifier(manager.address, None).status("long\n" * 10_000)
    (line,) = manager.lines
    assert len(line) == len("STATUS=") + MOST_CHARACTERS


@pytest.mark.parametrize(
    ("given", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getppid())}, None),  # of the shell before it
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_that_is_asked_for(given: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier.of_environment({"NOTIFY_SOCKET": "@any", **given}).watchdog_s == watchdog_s
    assert Notifier.of_environment(given).watchdog_s is None  # no listener


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_nobody_asks(address: str) -> None:
    notifier = Notifier.of_environment({"NOTIFY_SOCKET": address})
    assert not notifier.is_asked
    assert not notifier.ready()


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens-here", "/" + 200 * "x", "/with\0null"])
def test_nobody_is_there(address: str) -> None:
    assert not Notifier(address, None).ready()


def test_a_manager_that_reads_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"), None)
        sent, begun = 0, time.monotonic()
        while notifier.alive():
            sent += 1
        assert 0 < sent < 100_000
        assert time.monotonic() - begun < SEND_S + 10


def test_a_process_that_must_not_speak_for_the_service() -> None:
    given = {"NOTIFY_SOCKET": "@any", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    assert without_notifying(given) == {"PATH": "/bin"}
