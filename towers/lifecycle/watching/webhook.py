"""A webhook: a message to a chat or to the people on duty about nights that did not go well."""

import hashlib
import hmac
import json
import shlex
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from towers.contract.near_names import not_among
from towers.errors import UserError
from towers.lifecycle.watching.night_state import ENDINGS, NightState
from towers.lifecycle.watching.sending import Outbox, Transient, is_address, tried
from towers.lifecycle.watching.watcher import Watcher
from towers.manifest import json_numbers
from towers.secrets import masked_values, secret_of

PUT_BACK: Final = "put_back"
SIGNATURE: Final = "X-Towers-Signature-256"
"""Header with `sha256=` and the HMAC-SHA256 of the body, in hex."""


class Webhook(Watcher):
    """Sends a POST request with JSON when a night has ended in one of the given ways.

    Args:
        url_from: environment variable that holds the address; null: nothing is sent.
        endings: endings of nights that are reported; `put_back` stands for a rollback.
        secret_from: environment variable that holds the key of the signature; null: the body is not signed.
        timeout_s: seconds that one try waits for an answer.
        retries: tries after the first one, where there is no answer, or 429 or 5xx.
        at_most_s: seconds that all tries together may take.

    Raises:
        UserError: an unknown ending, or an invalid number.
    """

    def __init__(
        self,
        url_from: str | None,
        endings: Sequence[str],
        secret_from: str | None,
        timeout_s: float,
        retries: int,
        at_most_s: float,
    ):
        known = (*ENDINGS, PUT_BACK)
        for ending in endings:
            if ending not in known:
                raise UserError(f"watchers.webhook.endings: no {ending!r}; {not_among(ending, known)}")
        for key, number in (("timeout_s", timeout_s), ("at_most_s", at_most_s)):
            if not number > 0:
                raise UserError(f"watchers.webhook.{key}={number}: must be above 0")
        if retries < 0:
            raise UserError(f"watchers.webhook.retries={retries}: must be 0 or more")
        self._url_from, self._secret_from, self._endings = url_from, secret_from, tuple(endings)
        self._timeout_s, self._retries, self._at_most_s = timeout_s, retries, at_most_s
        if url_from is None:
            return
        with suppress(UserError):  # from now on texts mask them, even under unusual names
            self._secrets()

    @property
    def is_on(self) -> bool:
        """Returns whether a variable is named that holds the address."""
        return self._url_from is not None

    def check(self) -> None:
        """Checks that the variables are set, and contain an address."""
        url, _ = self._secrets()
        if not is_address(url):
            raise UserError(
                f"watchers.webhook.url_from={self._url_from}: its value is no http:// or https:// address, or one "
                "with a name and a password"
            )

    def ended(self, state: NightState) -> None:
        """Sends the message if the ending is one of those to report."""
        if state.ending in self._endings:
            self._send(state, str(state.ending), state.why)

    def put_back(self, state: NightState) -> None:
        """Sends the message if rollbacks are reported."""
        if PUT_BACK in self._endings:
            remarks = () if state.record is None else state.record.remarks
            self._send(state, PUT_BACK, (remarks[-1].why if remarks else None) or "no reason was given")

    def _secrets(self) -> tuple[str, str | None]:
        key, variable = "watchers.webhook.secret_from", self._secret_from
        return (
            secret_of(self._url_from or "", "watchers.webhook.url_from"),
            None if variable is None else secret_of(variable, key),
        )

    def _send(self, state: NightState, ending: str, why: str) -> None:
        url, secret = self._secrets()
        body = json.dumps(json_numbers(masked_values(message(state, ending, why))), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "towers"}
        if secret is not None:
            headers[SIGNATURE] = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        request = Request(url, data=body, headers=headers, method="POST")
        opener = build_opener(_NoRedirects)

        def attempt() -> None:
            _post(opener, request, self._timeout_s)

        outbox: Outbox[Request] = Outbox(lambda _: tried(attempt, self._retries, self._at_most_s))
        outbox.put(request)
        if outbox.left(self._at_most_s):
            raise UserError(f"not told of it: no answer in {self._at_most_s:g} s (watchers.webhook.at_most_s)")
        if outbox.errors:
            raise UserError(f"not told of it: {outbox.errors[-1]}") from None


def message(state: NightState, ending: str, why: str) -> dict[str, Any]:
    """Returns the message: `text` for chats, and the same in fields.

    Args:
        state: state of the night, or of the rollback.
        ending: how it ended, or `put_back`.
        why: reason in one line.
    """
    record, serves = state.record, None if state.serving is None else state.serving.version
    outcomes = [] if record is None or ending == PUT_BACK else record.verdict.get("outcomes", [])
    refused = [{"rule": each["rule"], "words": each["words"]} for each in outcomes if each["status"] == "refused"]
    command = None if ending == PUT_BACK else shlex.join(["towers", *sys.argv[1:]])
    now = "nothing serves" if serves is None else f"{serves} serves"
    before = None if state.served_before is None else state.served_before.version
    host = socket.gethostname()
    if ending == PUT_BACK:
        moved = f"from {before or 'nothing'} to {serves or 'nothing'}"
        lines = [f"towers: {state.data}: a rollback on {host} has led readers {moved}: {why}"]
    else:
        lines = [f"towers: the night of {state.data} ({state.experiment}) on {host} has ended: {ending}. {why}"]
        lines += [f"• {each['rule']}: {each['words']}" for each in refused]
        lines += [f"Now {now}."]
        if ending in ("failed", "stopped", "refused"):
            lines += [f"The same command goes on: {command}"]
    return {
        "text": "\n".join(lines),
        "ts": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": state.data,
        "experiment": state.experiment,
        "night": None if record is None else record.night,
        "ending": ending,
        "why": why,
        "version": None if record is None else record.version,
        "serving": serves,
        "served_before": before,
        "refused": refused,
        "step": state.steps[-1].name if state.steps else None,
        "host": host,
        "command": command,
    }


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: the body and its signature are for the given address only."""

    def redirect_request(self, *told: Any, **named: Any) -> None:
        return None


def _post(opener: OpenerDirector, request: Request, timeout_s: float) -> None:
    """Sends the request once. Error messages contain neither the address nor the system's text.

    Raises:
        Transient: no answer, or one that asks to try again later.
        UserError: an answer that another try would not change.
    """
    try:
        with opener.open(request, timeout=timeout_s):
            return
    except HTTPError as error:
        error.close()
        told = f"the answer was {error.code}"
        if error.code == HTTPStatus.TOO_MANY_REQUESTS or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Transient(told, _retry_after_s(error.headers)) from None
        if HTTPStatus.MULTIPLE_CHOICES <= error.code < HTTPStatus.BAD_REQUEST:
            told += ", a redirect, which is not followed; give the address that it leads to"
        raise UserError(told) from None
    except (HTTPException, OSError) as error:
        cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, OSError) else error
        raise Transient(f"no answer ({type(cause).__name__})") from None


def _retry_after_s(headers: Message | None) -> float | None:
    """Returns the pause that a server asks for, in seconds, also from a date; null where there is none that can be
    read."""
    asked = "" if headers is None else (headers.get("Retry-After") or "").strip()
    with suppress(ValueError, OverflowError):
        if asked.isascii() and asked.isdecimal():
            return float(asked)
        date = parsedate_to_datetime(asked)
        date = (
            date.replace(tzinfo=UTC) if date.tzinfo is None else date
        )  # asctime names no zone, -0000 none that counts
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    return None
