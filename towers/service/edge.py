"""Middleware of every request: permission to write, a bound on the body, and headers that bind a page to its origin."""

import json

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from towers.service.limits import LIMIT
from towers.service.write_guard import WriteGuard

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Edge:
    """Refuses bodies over `max_body_bytes` with 413, whether or not they announce their length; adds `HEADERS`.

    A request that `guard` refuses is refused before its body is read. Writes have a bound of their own, the guard's.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, guard: WriteGuard | None = None):
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection, which is the interface of an ASGI application; refuses or hands on a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = None if self._guard is None else self._guard.refusal(scope)
        if refused is not None:
            scope[LIMIT] = "max_writes_per_s" if refused[0] == 429 else None
            await self._refuse(send_with_headers, *refused)
            return
        if scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send_with_headers)
            return
        limit, most = self._bound_of(scope)
        try:
            body = await self._body(scope, receive, most)
        except ClientDisconnect:  # part of a body must not be taken for all of it, and no client reads the answer
            await self._refuse(send_with_headers, 499, "body: broke off")
            return
        if body is None:
            scope[LIMIT] = limit
            await self._refuse(send_with_headers, 413, f"body: must be at most {most:,} bytes")
            return
        is_read = False

        async def receive_again() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_again, send_with_headers)

    def _bound_of(self, scope: Scope) -> tuple[str, int]:
        """Returns the name of the limit on a request's body, and its bytes."""
        if self._guard is not None and self._guard.is_write(scope):
            return "max_outcome_bytes", self._guard.max_body_bytes
        return "max_body_bytes", self._max_body_bytes

    async def _body(self, scope: Scope, receive: Receive, most: int) -> bytes | None:
        """Returns the body; null if it is too long. Raises `ClientDisconnect` if it breaks off."""
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > most:
            return None
        parts, length = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            parts.append(part)
            length += len(part)
            if length > most:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _refuse(self, send: Send, status: int, said: str) -> None:
        body = json.dumps({"error": said}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if status == 429:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})
