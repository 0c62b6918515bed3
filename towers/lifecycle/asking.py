"""Canary requests to a version of an export: by HTTP as clients send them, or by the reader in this process."""

import http.client
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlencode

from towers.errors import UserError
from towers.lifecycle.canaries import Canary
from towers.lifecycle.server_process import Server
from towers.policies.opened import Opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answer to a canary.

    Args:
        ids: ids of the listed contents, best first; null: no answer.
        took_ms: duration in milliseconds.
        fault: reason for the lack of an answer, in a line; empty where there is one.
        is_declined: whether the version itself says that it cannot answer.
    """

    ids: tuple[str, ...] | None
    took_ms: float
    fault: str = ""
    is_declined: bool = False


@runtime_checkable  # for the tests, which check annotations at run time
class Asked(Protocol):
    """A version that can be sent canaries."""

    def ask(self, canary: Canary) -> Answer:
        """Returns the answer; never raises."""
        ...


class ByHttp:
    """Sends canaries to a server.

    Args:
        server: server that is ready.
        version: version that it must answer with.
        answer_s: seconds to wait for an answer.
    """

    def __init__(self, server: Server, version: str, answer_s: float):
        self._server, self._version, self._answer_s = server, version, answer_s

    def ask(self, canary: Canary) -> Answer:
        """See `Asked.ask`."""
        if not self._server.is_alive:
            return Answer(ids=None, took_ms=0.0, fault=f"the server has ended ({self._server.process.returncode})")
        started = time.perf_counter()
        try:
            status, body = self._sent(canary)
        except (OSError, http.client.HTTPException) as error:
            fault = f"{type(error).__name__}: {error}"
            return Answer(ids=None, took_ms=_ms_since(started), fault=fault)
        took_ms = _ms_since(started)
        try:
            ids = _listed(status, json.loads(body), self._version)
        except (ValueError, KeyError, TypeError) as error:
            is_declined = canary.may_be_declined and 400 <= status < 500
            fault = str(error) if isinstance(error, _Refused) else f"not an answer: {body[:200]!r}"
            return Answer(ids=None, took_ms=took_ms, fault=fault, is_declined=is_declined)
        return Answer(ids=ids, took_ms=took_ms)

    def _sent(self, canary: Canary) -> tuple[int, bytes]:
        """Sends a GET where all arguments fit into a query string, as clients do, else a POST."""
        connection = http.client.HTTPConnection(self._server.host, self._server.port, timeout=self._answer_s)
        try:
            if all(isinstance(value, str | int) for value in canary.asked.values()):
                connection.request("GET", f"/{canary.path}?{urlencode(canary.asked)}".rstrip("?"))
            else:
                body = json.dumps(dict(canary.asked)).encode()
                connection.request("POST", f"/{canary.path}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


class _Refused(ValueError):
    """Error that a server reports."""


def _listed(status: int, told: Mapping[str, Any], version: str) -> tuple[str, ...]:
    if status != 200:
        raise _Refused(f"{status}: {told['error']}")
    if "status" in told:
        if told["status"] != "ok":
            raise _Refused(f"health is {told['status']}")
        return ()
    if told["version"] != version:
        raise _Refused(f"answered by the version {told['version']}")
    return tuple(item["content"]["content_id"] for item in told["items"])


class ByReader:
    """Asks a version in this process.

    Args:
        folder: folder of the version.

    Raises:
        UserError: the version does not open.
    """

    def __init__(self, folder: Path):
        self._opened = Opened(folder, check=False)

    def ask(self, canary: Canary) -> Answer:
        """See `Asked.ask`."""
        started = time.perf_counter()
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # unknown values
                items = self._items(canary)
        except UserError as error:
            took_ms = _ms_since(started)
            return Answer(ids=None, took_ms=took_ms, fault=str(error), is_declined=canary.may_be_declined)
        except Exception as error:  # any other error counts as no answer
            return Answer(ids=None, took_ms=_ms_since(started), fault=f"{type(error).__name__}: {error}")
        return Answer(ids=tuple(item["content_id"] for item in items), took_ms=_ms_since(started))

    def _items(self, canary: Canary) -> list[dict[str, Any]]:
        path, _, kind = canary.path.partition("/")
        if path == "health":
            return []
        if path == "playlists":
            return self._opened.playlist(kind, **canary.asked)["items"]
        return (self._opened.recommend if path == "recommend" else self._opened.similar)(**canary.asked)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
