"""Messages of a service to systemd, as in sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names.

A message has a line for each variable. Nothing here fails its caller: a process that is started by hand has no such
socket, and a service manager that is away is not waited for.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Variables of the environment by which a service is told; a child that is a server itself must not answer for it."""
SEND_S: Final = 1.0
"""Seconds to wait while the service manager's queue is full."""
MOST_CHARACTERS: Final = 1_000
"""Most characters of a status."""


class Notifier:
    """Tells the service manager the state of the service; does nothing where there is no service manager.

    Args:
        address: socket of the service manager, a path, or a name of the abstract namespace after `@`; null: none.
        watchdog_s: seconds after which the manager takes a silent service for dead; null: it does not watch.
    """

    def __init__(self, address: str | None, watchdog_s: float | None):
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> "Notifier":
        """Reads the environment of this process, as sd_watchdog_enabled(3) does; invalid values count as not given."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls(None, None)
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        is_watched = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(usec) / 1e6 if is_watched else None)

    @property
    def is_asked(self) -> bool:
        """Returns whether there is a service manager that listens."""
        return self._address is not None

    def ready(self) -> bool:
        """Reports that the service is ready; like all others, returns whether the message was sent."""
        return self._tell("READY=1")

    def reloading(self) -> bool:
        """Reports that the service reloads its parts while it works; `ready` ends this state."""
        return self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> bool:
        """Reports that the service is stopping."""
        return self._tell("STOPPING=1")

    def status(self, text: str) -> bool:
        """Sends the state in words, on one line, which `systemctl status` shows."""
        return self._tell(f"STATUS={' '.join(text.split())[:MOST_CHARACTERS]}")

    def alive(self) -> bool:
        """Reports to the watchdog that the service does not hang."""
        return self._tell("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """Asks for more time, in seconds from now, where starting, running or stopping has a limit."""
        return self._tell(f"EXTEND_TIMEOUT_USEC={max(round(seconds * 1e6), 1)}")

    def _tell(self, *lines: str) -> bool:
        if self._address is None:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.settimeout(SEND_S)
                sending.sendto("\n".join(lines).encode(errors="replace"), address)
        except (OSError, ValueError):  # the socket is gone, or its path is too long or holds a null
            return False
        return True


def without_notifying(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns an environment for a child process that must not report in place of this service."""
    return {name: value for name, value in environment.items() if name not in VARIABLES}
