"""What goes to another machine: in the background, in order, and never for longer than is allowed."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar
from urllib.parse import urlsplit

Sent = TypeVar("Sent")


class Transient(Exception):
    """Another try may go well.

    Args:
        why: in a few words, without a secret.
        after_s: pause that the server asks for, in seconds; null: it asks for none.
    """

    def __init__(self, why: str, after_s: float | None = None):
        super().__init__(why)
        self.after_s = after_s


def tried(attempt: Callable[[], None], retries: int, within_s: float, pause_s: float = 1.0) -> None:
    """Tries something until it goes well; pauses between two tries double.

    Args:
        attempt: is called without arguments; `Transient` asks for another try.
        retries: tries after the first one.
        within_s: no try begins later than that, in seconds.
        pause_s: first pause, in seconds.

    Raises:
        Transient: of the last try.
    """
    until = time.monotonic() + within_s
    for number in range(retries + 1):
        try:
            attempt()
            return
        except Transient as error:
            pause = max(pause_s * 2**number, error.after_s or 0.0)
            if number == retries or time.monotonic() + pause >= until:
                raise
        time.sleep(pause)


def is_address(url: str) -> bool:
    """Returns whether it is an address of a web server, without a name and a password."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port that is no number
        return False
    return is_web and parts.username is None


class Outbox(Generic[Sent]):
    """Sends one thing after the other in a thread of its own, which does not keep the process alive: a server that is
    slow, or a name that does not resolve, holds nobody up.

    Args:
        send: sends one; what it raises is kept.

    Attributes:
        errors: what was raised, the oldest first.
    """

    def __init__(self, send: Callable[[Sent], None]):
        self.errors: list[Exception] = []
        self._send = send
        self._queue: SimpleQueue[Sent] = SimpleQueue()
        self._left = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True, name="towers-outbox").start()

    def put(self, thing: Sent) -> None:
        """Sends it when all before it were sent."""
        with self._changed:
            self._left += 1
        self._queue.put(thing)

    def left(self, within_s: float) -> int:
        """Waits until nothing is left; returns how many things are, at the latest after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._left == 0, within_s)
            return self._left

    def _work(self) -> None:
        while True:
            thing = self._queue.get()
            try:
                self._send(thing)
            except Exception as error:  # kept for whoever waits; the thread has to go on with the next
                self.errors.append(error)
            with self._changed:
                self._left -= 1
                self._changed.notify_all()
