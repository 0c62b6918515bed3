"""Sending to other machines: in the background, in order, and within a time limit."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar
from urllib.parse import urlsplit

Sent = TypeVar("Sent")


class Transient(Exception):
    """Sending failed, but another try may succeed.

    Args:
        why: reason in a few words, without secrets.
        after_s: pause that the server asks for, in seconds; null: none.
    """

    def __init__(self, why: str, after_s: float | None = None):
        super().__init__(why)
        self.after_s = after_s


def tried(attempt: Callable[[], None], retries: int, within_s: float, pause_s: float = 1.0) -> None:
    """Calls a function until it succeeds; the pause doubles after each try.

    Args:
        attempt: called without arguments; `Transient` asks for another try.
        retries: tries after the first one.
        within_s: seconds after which no further try begins.
        pause_s: first pause, in seconds.

    Raises:
        Transient: the error of the last try.
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
    """Returns whether a text is the address of a web server, without a name and a password."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port that is no number
        return False
    return is_web and parts.username is None


class Outbox(Generic[Sent]):
    """Sends things in order in a thread of its own, which does not keep the process alive: a slow server, or a name
    that does not resolve, blocks no caller.

    Args:
        send: sends one thing; its exceptions are kept.

    Attributes:
        errors: exceptions so far, the oldest first.
    """

    def __init__(self, send: Callable[[Sent], None]):
        self.errors: list[Exception] = []
        self._send = send
        self._queue: SimpleQueue[Sent] = SimpleQueue()
        self._left = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True, name="towers-outbox").start()

    def put(self, thing: Sent) -> None:
        """Queues a thing, which is sent after all before it."""
        with self._changed:
            self._left += 1
        self._queue.put(thing)

    def left(self, within_s: float) -> int:
        """Waits until the queue is empty, for at most so many seconds; returns how many things are left."""
        with self._changed:
            self._changed.wait_for(lambda: self._left == 0, within_s)
            return self._left

    def _work(self) -> None:
        while True:
            thing = self._queue.get()
            try:
                self._send(thing)
            except Exception as error:  # kept for the caller; the thread goes on with the next
                self.errors.append(error)
            with self._changed:
                self._left -= 1
                self._changed.notify_all()
