"""A service manager's side of sd_notify: a real socket, and the messages that it received."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


class Inbox:
    """The messages that were received, a list of lines for each datagram.

    Args:
        listening: bound socket.
        address: the socket's address, as `NOTIFY_SOCKET` has it.
    """

    def __init__(self, listening: socket.socket, address: str):
        self._listening, self.address = listening, address
        self.told: list[list[str]] = []

    @property
    def lines(self) -> list[str]:
        """All lines received so far."""
        self._listening.setblocking(False)
        while True:
            try:
                self.told.append(self._listening.recv(65_536).decode().split("\n"))
            except BlockingIOError:
                return [line for lines in self.told for line in lines]

    def clear(self) -> None:
        _ = self.lines
        self.told.clear()

    def wait_for(self, is_there: Callable[[list[str]], bool], timeout_s: float = 20.0) -> list[str]:
        """Waits until the received lines are as wanted, and returns them."""
        until = time.monotonic() + timeout_s
        while not is_there(self.lines):
            assert time.monotonic() < until, self.lines
            time.sleep(0.02)
        return self.lines


@contextmanager
def inbox(folder: Path | None) -> Iterator[Inbox]:
    """Opens a socket in a folder; without a folder, in the abstract namespace."""
    address = f"@towers-{uuid4()}" if folder is None else str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + address[1:] if folder is None else address)
        yield Inbox(listening, address)
