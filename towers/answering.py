"""Recognises, by the exceptions of libraries, that something outside does not answer at the moment."""

import errno
import re
import socket
import ssl
from typing import Any

from towers.errors import Unreachable, UserError

_NUMBERS = frozenset(
    (errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ECONNREFUSED,
     errno.ECONNRESET, errno.ECONNABORTED, errno.EBUSY, errno.EREMOTEIO)
)  # fmt: skip
"""Error numbers of the system that mean this; s3fs raises EBUSY where a store throttles (503), and EREMOTEIO where it
has failed (500)."""
_CLASSES = frozenset(
    (
        ("botocore", "HTTPClientError"),  # EndpointConnectionError, timeouts, connections that were closed
        ("aiohttp", "ClientConnectionError"),  # of s3fs and gcsfs
        ("requests", "ConnectionError"), ("requests", "Timeout"),
        ("azure", "ServiceRequestError"), ("azure", "ServiceResponseError"),
        ("grpc", "FutureTimeoutError"),
    )
)  # fmt: skip
"""Packages and names of classes that mean this; as names, so that no library is imported for the check."""
_STATES = frozenset(("UNAVAILABLE", "DEADLINE_EXCEEDED"))
"""Status codes of gRPC that mean this."""
_TEXT = re.compile(
    "|".join(
        [
            r"client error \(Connect\)|kind: (?:Connect|Timeout|Interrupted)\b|error sending request",
            r"tcp connect error|dns error|operation timed out|connection closed before message completed",
            r"\bstatus(?: code)?(?:: |\n\W*(?:\[\d+m\W*)*)(?:429|50[0234])\b",  # delta-rs draws an arrow between them
        ]
    )
)
"""Words that mean this in errors of delta-rs and LanceDB, libraries in Rust that raise one class for all of them."""
_NOT_TEXT = re.compile(r"169\.254\.169\.254|certificate|UnknownIssuer", re.IGNORECASE)
"""Words that mean something else: a certificate, or no credentials, for which these libraries ask the address
169.254.169.254 of the machine itself."""
_FINAL = (PermissionError, FileNotFoundError, ssl.SSLError)
"""Errors that are raised only after an answer has come."""
_CREDENTIALS = re.compile("Credential|Authentication")
"""Part of the names of the classes by which cloud libraries say that credentials are missing or refused; they may
have asked addresses for credentials that did not answer."""


def does_not_answer(error: BaseException) -> bool:
    """Returns whether an error, or one that led to it, says that something outside did not answer, has hung up, has an
    address that does not resolve, or throttles (HTTP 429 and 5xx). Refused credentials, a missing object and a
    certificate that does not fit do not count.

    >>> does_not_answer(ConnectionRefusedError(111, "refused")), does_not_answer(PermissionError(13, "denied"))
    (True, False)
    """
    seen: set[int] = set()
    next_error: BaseException | None = error
    is_silent = False
    while next_error is not None and id(next_error) not in seen:
        seen.add(id(next_error))
        if _is_answer(next_error):
            return False
        is_silent = is_silent or _is_silence(next_error)
        next_error = next_error.__cause__ or next_error.__context__
    return is_silent


def _is_answer(error: BaseException) -> bool:
    status = _status(error)
    is_refusal = isinstance(status, int) and 400 <= status < 500 and status != 429
    return is_refusal or isinstance(error, _FINAL) or bool(_CREDENTIALS.search(type(error).__name__))


def _is_silence(error: BaseException) -> bool:
    if isinstance(error, Unreachable | ConnectionError | TimeoutError | socket.gaierror):
        return True
    if isinstance(error, UserError):
        return False
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return True
    if {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__} & _CLASSES:
        return True
    status = _status(error)
    if isinstance(status, int):
        return status == 429 or status >= 500
    if getattr(status, "name", None) in _STATES:
        return True
    return bool(_TEXT.search(text := str(error))) and not _NOT_TEXT.search(text)


def _status(error: BaseException) -> Any:
    """Returns the status of an HTTP or gRPC answer that an error carries; null where it carries none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if any(kind.__module__.partition(".")[0] == "grpc" for kind in type(error).__mro__):
        code = getattr(error, "code", None)
        return code() if callable(code) else None
    package = type(error).__module__.partition(".")[0]
    named = {"aiohttp": "status", "gcsfs": "code", "azure": "status_code"}.get(package)  # else `code` may be anything
    return None if named is None else getattr(error, named, None)
