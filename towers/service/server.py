"""uvicorn around the application: the socket, the workers, the log."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import faiss
import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits
from uvicorn.supervisors import Multiprocess

from towers.errors import UserError
from towers.service.app import create_app
from towers.service.audio import AudioFolder
from towers.service.home_live import Home, HomeSettings
from towers.service.limits import Limits
from towers.service.live import Live
from towers.service.snapshot import Snapshot
from towers.service.write_guard import is_of_this_machine

LOG = logging.getLogger("towers.service")
STOPPING_S = 10.0
"""Seconds that an ending may take once standard input is at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What is served, and how.

    Args:
        export: folder of a version, or a link that is watched.
        audio_root: that the contents' `audio` is relative to; null where no sound is served.
        lists: folder of everybody's lists, of which nothing comes again for weeks; null: lists forget earlier ones.
        verify: how a version is checked before it is served, `manifest` or `full`.
        watch_s: seconds between two looks at the link.
        threads: requests that a worker works on at once.
        limits: above which a request is refused.
        home: of the home page; null: there is none.
    """

    export: Path
    audio_root: Path | None
    lists: Path | None
    verify: str
    watch_s: float
    threads: int
    limits: Limits
    home: HomeSettings | None = None

    def open_live(self) -> Live:
        """Opens what is served; raises `UserError` where that cannot be."""
        audio = AudioFolder(self.audio_root)
        return Live(
            self.export, partial(Snapshot.open, audio=audio, lists=self.lists, verify=self.verify), self.watch_s
        )

    def app(self, open_live: Callable[[], Live] | None = None) -> FastAPI:
        """The application, in this process."""
        keep_to_one_thread()
        log_plainly()
        return create_app(open_live or self.open_live, self.limits, self.threads, self.home)


def keep_to_one_thread() -> None:
    """Each request has a thread already; BLAS and FAISS must not start more for it."""
    threadpool_limits(1)
    faiss.omp_set_num_threads(1)


def log_plainly() -> None:
    """One line a message, on standard error."""
    if not LOG.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("towers: %(message)s"))
        LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


def end_with_input() -> None:
    """Ends this process when its standard input ends, so when whoever holds the other end of that pipe is gone.

    Requests that are under way get `STOPPING_S` to end; then nothing is waited for.
    """

    def watch() -> None:
        while os.read(0, 4_096):  # not by `sys.stdin`, whose lock the interpreter waits for at its end
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOPPING_S)
        os._exit(1)

    threading.Thread(target=watch, name="towers-input", daemon=True).start()


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; 0 takes a free port.

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


def serve(serving: Serving, host: str, port: int, workers: int, access_log: bool) -> None:
    """Serves until it is interrupted.

    Raises:
        UserError: the address is taken, the export or the home page cannot be served, or whoever reaches this machine
            could write the log of the home page.
    """
    keep_to_one_thread()
    log_plainly()
    home = serving.home
    if home is not None and home.log is not None and home.token is None and not is_of_this_machine(host):
        raise UserError(
            f"home.token: host={host} listens on more than this machine, so that writing the log needs a token; "
            "give one, or set TOWERS_HOME_TOKEN"
        )
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
        # A worker process opens its own; only with one is what was opened here served.
        app = partial(serving.app, (lambda: live)) if workers == 1 else serving.app
        config = uvicorn.Config(
            app, factory=True, workers=workers, log_level="warning", access_log=access_log, timeout_graceful_shutdown=5,
        )  # fmt: skip
        with suppress(KeyboardInterrupt):  # which uvicorn raises again once it has answered what was under way
            if workers == 1:
                uvicorn.Server(config).run(sockets=[listening])
            else:
                del live
                Multiprocess(config, sockets=[listening]).run()
    print("stopped", flush=True)
