"""uvicorn around the application: the socket, the workers, the log."""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import faiss
import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from towers.errors import UserError
from towers.manifest import scratch_directory
from towers.service.app import Watched, create_app
from towers.service.audio import AudioFolder
from towers.service.home_live import Home, HomeSettings
from towers.service.limits import Limits
from towers.service.live import Live
from towers.service.roster import Roster
from towers.service.snapshot import Snapshot
from towers.service.telling import Telling
from towers.service.workers import CANNOT_SERVE, KILL_S, Workers
from towers.service.write_guard import is_of_this_machine
from towers.systemd import Notifier

LOG = logging.getLogger("towers.service")
LAST_S = 5.0
"""Seconds that the end may take beyond `stopping_s`, for example to write the home page's log."""
WORKER_S = 30
"""Seconds within which a worker must answer the first process; generous, as many may start at once on few cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Settings of a server: the export, the address and the parts.

    Args:
        export: folder of a version, or a link that is watched.
        audio_root: folder that the contents' `audio` is relative to; null: no sound is served.
        lists: folder of all listeners' earlier lists, whose contents do not come again for weeks; null: earlier lists
            do not count.
        verify: check of a version before it is served, `manifest` or `full`; see `Snapshot.open`.
        watch_s: seconds between two looks at the link.
        threads: requests that a worker works on at once.
        limits: limits above which a request is refused.
        home: settings of the home page; null: there is none.
        metrics: whether there is `/metrics`.
        stopping_s: seconds for which requests under way may still be answered once the server is asked to end.
        roster: roster of its processes.
    """

    export: Path
    audio_root: Path | None
    lists: Path | None
    verify: str
    watch_s: float
    threads: int
    limits: Limits
    home: HomeSettings | None = None
    metrics: bool = True
    stopping_s: int = 10
    roster: Roster = field(default_factory=Roster)

    def open_live(self) -> Live:
        """Opens the version to serve; raises `UserError` if that fails."""
        audio = AudioFolder(self.audio_root)
        return Live(
            self.export, partial(Snapshot.open, audio=audio, lists=self.lists, verify=self.verify), self.watch_s
        )

    def app(self, open_live: Callable[[], Live] | None = None) -> FastAPI:
        """Creates the application of this process, and sets up its log and threads."""
        keep_to_one_thread()
        log_plainly()
        watched = Watched(metrics=self.metrics, roster=self.roster, ends=end_for_sure)
        return create_app(open_live or self.open_live, self.limits, self.threads, self.home, watched)

    def app_of_worker(self) -> FastAPI:
        """Creates the application of one of several processes; on failure logs a line and exits with `CANNOT_SERVE`."""
        try:
            return self.app()
        except (UserError, OSError) as error:
            LOG.error("a process could not serve: %s", " ".join(str(error).split()))
            raise SystemExit(CANNOT_SERVE) from None


def keep_to_one_thread() -> None:
    """Keeps BLAS and FAISS to one thread a request, as each request has a thread of its own already."""
    threadpool_limits(1)
    faiss.omp_set_num_threads(1)


def log_plainly() -> None:
    """Writes each message of the log as one line, on standard error."""
    if not LOG.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("towers: %(message)s"))
        LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


def end_with_input(stopping_s: float) -> None:
    """Ends this process when its standard input ends, that is, when the process at the other end of the pipe has ended.

    Args:
        stopping_s: seconds for which requests under way may still be answered.
    """

    def watch() -> None:
        while os.read(0, 4_096):  # not by `sys.stdin`, whose lock the interpreter waits for at its end
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(stopping_s + LAST_S)
        os._exit(1)

    threading.Thread(target=watch, name="towers-input", daemon=True).start()


def end_for_sure() -> None:
    """Kills this process in `LAST_S` seconds unless it has ended by then: otherwise the interpreter would wait for a
    thread whose request hangs."""

    def end() -> None:
        others = [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
        if others:  # those of requests; all of Towers' own are daemons
            LOG.error("a request is still under way %g seconds after it was given up; ended without it", LAST_S)
        else:
            LOG.error("what ends the server, such as writing the home page's log, takes more than %g seconds", LAST_S)
        os._exit(1)

    timer = threading.Timer(LAST_S, end)
    timer.daemon = True
    timer.start()


def bound(host: str, port: int) -> socket.socket:
    """Returns a listening socket; port 0 takes a free port.

    Raises:
        UserError: the port is taken, or the address is none of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=2_048)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"host={host}, port={port}: cannot listen there ({error}); give another one, such as port={port + 1}"
        ) from None
    # Accepted sockets inherit it; asyncio sets it itself only where a socket's protocol is named, and without it an
    # answer's second packet waits for the first to be acknowledged, 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


@contextmanager
def roster_of(workers: int) -> Iterator[Roster]:
    """Yields the roster of `workers` processes; several need a folder, which is removed when the block ends.

    Raises:
        UserError: no folder can be created among temporary files.
    """
    if workers == 1:
        yield Roster()
        return
    with ExitStack() as held:
        try:
            folder = held.enter_context(scratch_directory(Path(tempfile.gettempdir()) / "towers-serve"))
        except OSError as error:
            said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            raise UserError(f"{said}; workers={workers} needs a folder that can be written to: set TMPDIR") from None
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # read as the processes import the library
        held.callback(os.environ.pop, "PROMETHEUS_MULTIPROC_DIR", None)
        yield Roster(folder)


def serve(serving: Serving, host: str, port: int, workers: int, access_log: bool) -> None:
    """Serves until it is interrupted or asked to end (SIGTERM); requests under way get `stopping_s` to be answered.

    Raises:
        UserError: the address is taken, the export or the home page cannot be served, or every client that
            reaches this machine could write the log of the home page.
    """
    keep_to_one_thread()
    log_plainly()
    home = serving.home
    if home is not None and home.log is not None and home.token is None and not is_of_this_machine(host):
        raise UserError(
            f"home.token: host={host} listens on more than this machine, so that writing the log needs a token; "
            "give one, or set TOWERS_HOME_TOKEN"
        )
    notifier = Notifier.of_environment()
    ending_s = serving.stopping_s + LAST_S
    with roster_of(workers) as roster, Telling(notifier, roster, workers, ending_s + KILL_S) as telling:
        serving = replace(serving, roster=roster)
        live = serving.open_live()
        if home is not None:
            Home.open(home, live.snapshot)  # what is wrong with it is said here, in one line
        with bound(host, port) as listening:
            shown = f"[{host}]" if ":" in host else host
            print(
                f"serving {live.snapshot.version} ({len(live.snapshot.export.vectors):,} contents, "
                f"{len(live.snapshot.export.user_ids):,} listeners) at http://{shown}:{listening.getsockname()[1]}/",
                flush=True,
            )
            config = uvicorn.Config(
                serving.app_of_worker, factory=True, workers=workers, log_level="warning", access_log=access_log,
                timeout_graceful_shutdown=serving.stopping_s, timeout_worker_healthcheck=WORKER_S,
            )  # fmt: skip
            with ended_in_order():
                if workers == 1:  # what was opened here is served; a worker process opens its own
                    config.app = partial(serving.app, lambda: live)
                    server = uvicorn.Server(config)
                    telling.serves(listening, lambda: server.should_exit)
                    server.run(sockets=[listening])
                else:
                    del live
                    supervisor = Workers(config, [listening], roster, telling, ending_s)
                    telling.serves(listening, supervisor.should_exit.is_set)
                    supervisor.run()
    try:
        print("stopped", flush=True)
    except BrokenPipeError:  # the reader has gone; the interpreter is not to find it in the buffer once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Spans what uvicorn does: it raises the signal that ended it again when all is answered, which ends nothing."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if is_main else None
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
