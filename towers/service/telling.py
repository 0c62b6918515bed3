"""Messages of a server to systemd: that it is ready, what it serves, that it answers, and that it ends."""

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Final

from towers.movement import Movement
from towers.service.roster import Roster, Served
from towers.systemd import Notifier

LOG = logging.getLogger("towers.service")
LOOK_S: Final = 0.5
"""Seconds between two looks at the server."""
OPENING_S: Final = 10.0
"""Seconds between two requests for more time while a version is opened; each asks for three times as long."""
OPENS: Final = {"min_core_share": 0.02, "min_bytes": 1_000_000}
"""Least share of a core and least bytes read that tell opening a version from hanging."""
ANSWER_S: Final = 5.0
"""Seconds within which the server must answer `/health`."""


class Telling:
    """Tells systemd about the server from a thread, if systemd asks for it.

    The server is ready when every process has opened its version and `/health` answers over HTTP. It is alive while
    `/health` answers, every event loop runs and requests get through (`Roster.beating`).

    Args:
        notifier: sends the messages.
        roster: roster of the processes.
        workers: number of processes that have to serve before the server is ready.
        ending_s: seconds that the end may take.
    """

    def __init__(self, notifier: Notifier, roster: Roster, workers: int, ending_s: float):
        self._notifier, self._roster, self._workers, self._ending_s = notifier, roster, workers, ending_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="towers-telling", daemon=True)
        self._address: tuple[str, int] | None = None
        self._is_stopping: Callable[[], bool] = lambda: False
        self._is_ready = self._told_end = False
        self._told = ""
        self._extend_at, self._alive_at = time.monotonic() + OPENING_S, 0.0

    def __enter__(self) -> "Telling":
        if self._notifier.is_asked:
            self._say("opening a version")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._notifier.is_asked:
            self._thread.join(timeout=2 * ANSWER_S)
            self._ends()

    def serves(self, listening: socket.socket, is_stopping: Callable[[], bool]) -> None:
        """Takes the socket on which the server listens from now on, and a function that says whether it is ending."""
        host, port = str(listening.getsockname()[0]), int(listening.getsockname()[1])
        self._is_stopping = is_stopping
        self._address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tells systemd of the renewal of all processes, around it; not before the server is ready, as the renewal ends
        with `READY=1`."""
        was_ready = self._is_ready
        if was_ready:
            self._notifier.reloading()
        yield
        if was_ready:
            self._notifier.ready()

    def _run(self) -> None:
        movement, watchdog_s = Movement(**OPENS), self._notifier.watchdog_s
        while not self._stopped.wait(LOOK_S if watchdog_s is None else min(LOOK_S, watchdog_s / 8)):
            if self._is_stopping():
                self._ends()
                return
            try:
                self._look(movement)
            except Exception as error:  # such as no more open files: the next look may succeed
                LOG.error("systemd is not told: %s: %s", type(error).__name__, " ".join(str(error).split()))

    def _look(self, movement: Movement) -> None:
        now, processes, watchdog_s = time.monotonic(), self._roster.processes(), self._notifier.watchdog_s
        if not self._is_ready and now >= self._extend_at:
            self._extend_at = now + OPENING_S
            if movement.since_last():
                self._notifier.extend(3 * OPENING_S)
        if not self._is_ready and len(processes) >= self._workers and self._answers():
            self._is_ready = self._notifier.ready()
        if self._is_ready:
            self._say(status({process: served for process, (served, _) in processes.items()}))
        if watchdog_s is not None and self._is_ready and now >= self._alive_at:
            beats = [silent_s for _, silent_s in processes.values()]
            if beats and max(beats) < max(watchdog_s / 2, 2.0) and self._answers():
                self._alive_at = now + watchdog_s / 4
                self._notifier.alive()

    def _say(self, text: str) -> None:
        if text != self._told and self._notifier.status(text):
            self._told = text

    def _ends(self) -> None:
        if not self._told_end:
            self._told_end = True
            self._notifier.stopping()
            self._notifier.extend(self._ending_s)
            self._say("ends; what is under way is answered")

    def _answers(self) -> bool:
        if self._address is None:
            return False
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_S)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def status(served: Mapping[int, Served]) -> str:
    """Says what processes serve, such as `serving v2 (space 1f3a) by 1 process, v1 (space 1f3a) by 1 process`.

    Args:
        served: what each process serves, by process id.
    """
    numbers: dict[str, int] = {}
    for each in sorted(served.values(), key=lambda each: -each.opened_s):
        named = f"{each.version} (space {each.space_id})"
        numbers[named] = numbers.get(named, 0) + 1
    told = (f"{named} by {number} process{'es' * (number > 1)}" for named, number in numbers.items())
    return f"serving {', '.join(told)}" if numbers else "no process serves"
