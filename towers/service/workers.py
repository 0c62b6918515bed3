"""Several processes that serve: which of them run, how they are renewed, and that they end in time."""

import os
import pickle
import signal
import socket
import sys
import threading
import time
from typing import Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from towers.errors import UserError
from towers.service.metrics import strike
from towers.service.roster import Roster
from towers.service.telling import Telling

CANNOT_SERVE: Final = 2
"""Exit code of a process that could not open its version and has logged a line about it."""
PAUSE_S: Final = 5.0
"""Seconds until such a process is started again."""
SIGNAL_S: Final = 0.1
"""Seconds between two looks at whether the server was asked to end."""
KILL_S: Final = 1.0
"""Seconds beyond `ending_s` after which processes that have not ended are killed."""


class Workers(Multiprocess):
    """Starts and renews the processes; removes those that have ended from the roster.

    SIGTERM and SIGINT take effect even while the first process waits, for example for a hung worker: a thread passes
    them on, and kills processes that have not ended in time.

    Args:
        config: configuration of uvicorn.
        sockets: sockets on which all processes listen.
        roster: roster with a folder.
        telling: tells systemd when all processes are renewed, one after the other (SIGHUP).
        ending_s: seconds in which a process that is asked to end does so by itself.
    """

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], roster: Roster, telling: Telling, ending_s: float
    ):
        super().__init__(config, sockets)
        self._roster, self._telling, self._ending_s = roster, telling, ending_s
        self._known: set[int] = set()
        self._again_at: dict[int, float] = {}
        self._has_served = self._has_failed = self._is_asked = False
        self._over = threading.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._ask)

    def run(self) -> None:
        """Serves until the server is asked to end.

        Raises:
            UserError: no process could serve from the beginning.
        """
        passing_on = threading.Thread(target=self._pass_on, name="towers-ending", daemon=True)
        passing_on.start()
        try:
            super().run()
        finally:
            self._over.set()
            passing_on.join()
        if self._has_failed:
            raise UserError(f"workers={self.processes_num}: none could serve; the line before says why")

    def keep_subprocess_alive(self) -> None:
        """Replaces processes that have ended or hang; uvicorn calls it every half second."""
        self._strike()
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.exitcode in (CANNOT_SERVE, STARTUP_FAILURE) and process.pid is not None:
                if not self._has_served:
                    self._has_failed = self._is_asked = True
                    self.should_exit.set()
                    return
                if time.monotonic() < self._again_at.setdefault(process.pid, time.monotonic() + PAUSE_S):
                    continue
                del self._again_at[process.pid]
            if self._answers(process):
                continue
            process.kill()
            process.join()
            if not self.should_exit.is_set():
                self.processes[place] = Process(self.config, self.sockets)
                self.processes[place].start()

    def handle_hup(self) -> None:
        """Renews all processes."""
        with self._telling.reloading():
            super().handle_hup()

    def _answers(self, process: Process) -> bool:
        """Returns whether a process answers in time. uvicorn's own check would wait for a dead process as well."""
        until = time.monotonic() + self.config.timeout_worker_healthcheck
        try:
            process.parent_conn.send(b"ping")
            while process.process.is_alive() and time.monotonic() < until and not self.should_exit.is_set():
                if process.parent_conn.poll(SIGNAL_S):
                    process.parent_conn.recv()
                    return True
        except (OSError, EOFError, pickle.UnpicklingError):
            return False
        return self.should_exit.is_set()  # no worker is replaced any more

    def _strike(self) -> None:
        """Removes the notes and metrics of processes that do not run any more."""
        running = {one.pid for one in self.processes if one.pid is not None and one.exitcode is None}
        noted = self._roster.processes().keys()
        self._has_served = self._has_served or bool(noted & running)
        for gone in (self._known | noted) - running:
            self._roster.gone(gone)
            if self._roster.folder is not None:
                strike(gone, self._roster.folder)
        self._known = running

    def _ask(self, *_: object) -> None:
        """Handles a signal; it must take no lock: the thread that it interrupts may hold it."""
        self._is_asked = True

    def _pass_on(self) -> None:
        while not self._is_asked:
            if self._over.wait(SIGNAL_S):
                return
        self.should_exit.set()
        self._signal_all(signal.SIGTERM)
        if self._over.wait(self._ending_s + KILL_S):
            return
        print("towers: processes that had not ended in time were killed", file=sys.stderr, flush=True)
        while not self._over.wait(SIGNAL_S):
            self._signal_all(signal.SIGKILL)

    def _signal_all(self, sent: signal.Signals) -> None:
        for each in tuple(self.processes):
            if each.pid is not None and each.process.is_alive():
                os.kill(each.pid, sent)
