"""Messages of a listening server to systemd, from a real socket: a server that hangs is not reported as alive."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from tests.notified import Inbox, inbox
from tests.service.conftest import LIMITS
from towers.manifest import point_to
from towers.retrieval.export import Export
from towers.service.app import Watched, create_app
from towers.service.audio import AudioFolder
from towers.service.live import Live
from towers.service.roster import Roster
from towers.service.server import bound
from towers.service.snapshot import Snapshot
from towers.service.telling import Telling
from towers.systemd import Notifier

WATCHDOG_S = 1.0
THREADS = 2


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Inbox]:
    with inbox(tmp_path) as listening:
        yield listening


@contextmanager
def told_of(app: FastAPI, roster: Roster, manager: Inbox, workers: int = 1) -> Iterator[str]:
    """Runs a server that reports to systemd, and yields its address."""
    notifier = Notifier(manager.address, WATCHDOG_S)
    with Telling(notifier, roster, workers, 7.0) as telling, bound("127.0.0.1", 0) as socket:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        telling.serves(socket, lambda: server.should_exit)
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


def app_over(link: Path, roster: Roster, watch_s: float = 60.0) -> FastAPI:
    live = Live(link, lambda folder: Snapshot.open(folder, AudioFolder(None)), watch_s)
    return create_app(lambda: live, LIMITS, THREADS, watched=Watched(roster=roster))


def is_there(line: str, lines: list[str]) -> bool:
    return line in lines


def falls_silent(manager: Inbox) -> bool:
    """Returns whether no sign of life comes within the time after which the watchdog ends a service."""
    time.sleep(WATCHDOG_S)
    manager.clear()
    time.sleep(WATCHDOG_S)
    return "WATCHDOG=1" not in manager.lines


def test_from_its_opening_over_a_swap_to_its_end(make_version: Callable[..., Export], manager: Inbox) -> None:
    first, second = make_version("v1"), make_version("v2")
    current = first.folder.parent / "current"
    point_to(current, first.folder)
    roster = Roster()
    with told_of(app_over(current, roster, 0.05), roster, manager):
        lines = manager.wait_for(partial(is_there, "WATCHDOG=1"))
        serves = f"STATUS=serving v1 (space {first.space_id}) by 1 process"
        assert lines[:4] == ["STATUS=opening a version", "READY=1", serves, "WATCHDOG=1"]
        point_to(current, second.folder)
        manager.wait_for(partial(is_there, serves.replace("v1", "v2")))
    end = ["STOPPING=1", "EXTEND_TIMEOUT_USEC=7000000", "STATUS=ends; what is under way is answered"]
    assert manager.lines[-3:] == end
    assert manager.lines.count("READY=1") == manager.lines.count("STOPPING=1") == 1


@pytest.mark.slow
def test_a_server_whose_event_loop_hangs(small: Export, manager: Inbox) -> None:
    roster = Roster()
    app, goes_on = app_over(small.folder, roster), threading.Event()

    @app.get("/hangs")
    async def hangs() -> None:
        goes_on.wait(30)

    with told_of(app, roster, manager) as address:
        manager.wait_for(partial(is_there, "WATCHDOG=1"))
        request = threading.Thread(target=httpx2.get, args=(f"{address}/hangs",), kwargs={"timeout": 60})
        request.start()
        assert falls_silent(manager)
        goes_on.set()
        request.join()
        manager.wait_for(partial(is_there, "WATCHDOG=1"))


@pytest.mark.slow
def test_a_server_whose_requests_all_hang(small: Export, manager: Inbox) -> None:
    """The event loop still answers; while one thread works, the server counts as alive."""
    roster = Roster()
    app, goes_on = app_over(small.folder, roster), threading.Event()

    @app.get("/hangs")
    def hangs() -> None:
        goes_on.wait(30)

    with told_of(app, roster, manager) as address:
        manager.wait_for(partial(is_there, "WATCHDOG=1"))
        requests = [
            threading.Thread(target=httpx2.get, args=(f"{address}/hangs",), kwargs={"timeout": 60})
            for _ in range(THREADS)
        ]
        requests[0].start()
        time.sleep(2 * WATCHDOG_S)
        manager.clear()
        manager.wait_for(partial(is_there, "WATCHDOG=1"))
        requests[1].start()
        time.sleep(2.0)  # as long as the beats of processes may be apart
        assert falls_silent(manager)
        assert httpx2.get(f"{address}/health").status_code == 200
        goes_on.set()
        for request in requests:
            request.join()
        manager.wait_for(partial(is_there, "WATCHDOG=1"))


def test_it_is_not_ready_before_all_processes_are(small: Export, manager: Inbox) -> None:
    roster = Roster()
    with told_of(app_over(small.folder, roster), roster, manager, workers=2) as address:
        until = time.monotonic() + 20
        while True:  # the one that is there answers
            try:
                assert httpx2.get(f"{address}/ready").json() == {"status": "ready", "version": "v1"}
                break
            except httpx2.ConnectError:
                assert time.monotonic() < until
        time.sleep(0.5)
    assert "READY=1" not in manager.lines
    assert "WATCHDOG=1" not in manager.lines


def test_beats_end_with_the_application(small: Export, tmp_path: Path) -> None:
    """Otherwise a process that is replaced in order would be taken for one that hangs."""
    roster = Roster(tmp_path / "roster")
    (tmp_path / "roster").mkdir()
    live = Live(small.folder, lambda folder: Snapshot.open(folder, AudioFolder(None)), 60.0)
    app = create_app(lambda: live, LIMITS, THREADS, watched=Watched(roster=roster, metrics=False))

    async def run() -> None:
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0)
            ((served, silent_s),) = roster.processes().values()
            assert served.version == "v1"
            assert 0 <= silent_s < 10
        assert roster.processes() == {}

    asyncio.run(run())
