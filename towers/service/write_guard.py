"""Decides who may write, how often and how much, before the body of a request is read."""

import hmac
import ipaddress
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.types import Scope

LOOK = "look"
"""Parameter of `/home` with which a page is only looked at, and not logged."""
BURST_S = 2.0
"""Size of a burst: writes of so many seconds may come at once."""


class WriteGuard:
    """Refuses writes without the token, and more writes a second than allowed.

    `POST /outcome` writes, and so does `GET /home`, whose pages are logged, unless it says `look=true`.

    Args:
        token: token that a writer sends as `Authorization: Bearer TOKEN`; null: every client may write.
        most_per_s: average number of writes a second that this process accepts.
        max_body_bytes: largest body of a write, in bytes.
        clock: function that returns seconds; replaced in tests.
    """

    def __init__(
        self,
        token: str | None,
        most_per_s: float,
        max_body_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._expected = None if token is None else f"Bearer {token}".encode()
        self._most_per_s = most_per_s
        self.max_body_bytes = max_body_bytes
        self._clock = clock
        self._room, self._room_at = most_per_s * BURST_S, clock()

    def is_write(self, scope: Scope) -> bool:
        """Returns whether a request writes."""
        path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        if path == "/outcome":
            return scope["method"] == "POST"
        if path != "/home" or scope["method"] not in ("GET", "HEAD"):
            return False
        looks = parse_qs(scope.get("query_string", b"").decode("latin-1")).get(LOOK, [""])
        return looks[-1].lower() not in ("true", "1", "yes", "on", "t", "y")

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Returns status and message of a refusal; null if the request may go on. An accepted write counts against the
        rate."""
        if not self.is_write(scope):
            return None
        given = dict(scope["headers"]).get(b"authorization", b"")
        if self._expected is not None and not hmac.compare_digest(given, self._expected):
            return 401, "token: a write needs the header `Authorization: Bearer TOKEN`; /home?look=true needs none"
        now = self._clock()
        self._room = min(self._room + (now - self._room_at) * self._most_per_s, self._most_per_s * BURST_S)
        self._room_at = now
        if self._room < 1:
            return 429, f"writes: more than {self._most_per_s:g} a second; come again later"
        self._room -= 1
        return None


def is_of_this_machine(host: str) -> bool:
    """Returns whether only this machine reaches a server that listens there.

    >>> is_of_this_machine("127.0.0.1"), is_of_this_machine("::1"), is_of_this_machine("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
