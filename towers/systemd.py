"""What a service tells systemd, as sd_notify(3) has it: datagrams on the socket that `NOTIFY_SOCKET` names.

The protocol is a line for each variable. Nothing here fails its caller: whoever is started by hand has no such socket,
and a service manager that is away is not waited for.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What a service is given in its environment; a server that it starts for itself must not answer in its place."""
SEND_S: Final = 1.0
"""Seconds that a full queue of the service manager is waited for."""
MOST_CHARACTERS: Final = 1_000
"""Of a status."""


class Notifier:
    """Tells the service manager how the service is; where nobody asks, nothing is told.

    Args:
        address: of its socket, a path, or a name of the abstract namespace after `@`; null: nobody asks.
        watchdog_s: seconds after which it takes a silent service for dead; null: it does not watch.
    """

    def __init__(self, address: str | None, watchdog_s: float | None):
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> "Notifier":
        """Reads what this process was given, as sd_watchdog_enabled(3) does; what cannot be counts as not given."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls(None, None)
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        is_watched = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(usec) / 1e6 if is_watched else None)

    @property
    def is_asked(self) -> bool:
        """Returns whether somebody listens."""
        return self._address is not None

    def ready(self) -> bool:
        """Tells that the service does its work; like all others, returns whether it could be told."""
        return self._tell("READY=1")

    def reloading(self) -> bool:
        """Tells that the service renews its parts while it works; `ready` ends it."""
        return self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> bool:
        """Tells that the service ends."""
        return self._tell("STOPPING=1")

    def status(self, text: str) -> bool:
        """Tells people how it is, on one line, which `systemctl status` shows."""
        return self._tell(f"STATUS={' '.join(text.split())[:MOST_CHARACTERS]}")

    def alive(self) -> bool:
        """Tells the watchdog that the service is not hung."""
        return self._tell("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """Asks for so long from now, where what it does now (start, run or stop) has a limit."""
        return self._tell(f"EXTEND_TIMEOUT_USEC={max(round(seconds * 1e6), 1)}")

    def _tell(self, *lines: str) -> bool:
        if self._address is None:
            return False
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.settimeout(SEND_S)
                sending.sendto("\n".join(lines).encode(errors="replace"), address)
        except (OSError, ValueError):  # nobody there any more, a path that is too long or has a null in it
            return False
        return True


def without_notifying(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns an environment for a process that must not speak for this service."""
    return {name: value for name, value in environment.items() if name not in VARIABLES}
