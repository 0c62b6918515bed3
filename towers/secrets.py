"""Secrets stand in environment variables alone: a configuration names the variable, and what is told never shows it."""

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from towers.errors import UserError

MASK: Final = "***"
"""Stands in the place of a secret."""
SHORTEST: Final = 8
"""Characters; a shorter value is too likely a part of something else, such as a file's name."""
_NAMES: Final = re.compile(
    r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|WEBHOOK|DSN|SAS)(_|$)|CONNECTION_STRING|APIKEY",
    re.IGNORECASE,
)
"""Names of variables whose values are taken for secrets."""
_IN_ADDRESS: Final = re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)")
"""The name and password in an address such as `https://name:password@host`."""
_asked: set[str] = set()


def secret_of(variable: str, key: str) -> str:
    """Returns the secret that an environment variable holds; from then on `masked` knows it, whatever its name.

    Args:
        variable: name of the environment variable.
        key: of the configuration that names it, for the message.

    Raises:
        UserError: there is no such variable, or it is empty.
    """
    _asked.add(variable)
    found = os.environ.get(variable, "")
    if not found:
        raise UserError(f"{key}={variable}: no such environment variable, or an empty one; set it, or set {key}=null")
    return found


def masked(text: str) -> str:
    """Returns a text in which every secret of the environment is replaced by `***`, and every password in an address.

    >>> masked("s3://user:hunter2hunter2@host/bucket")
    's3://***@host/bucket'
    """
    for value in sorted(_secrets(), key=len, reverse=True):  # the longest first: one may be a part of another
        text = text.replace(value, MASK)
    return _IN_ADDRESS.sub(MASK, text)


def masked_values(value: Any) -> Any:
    """Returns a nested value whose texts are `masked`; all else is as it was.

    >>> masked_values({"root": ["s3://user:hunter2hunter2@host/bucket", 3]})
    {'root': ['s3://***@host/bucket', 3]}
    """
    if isinstance(value, Mapping):
        return {key: masked_values(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(masked_values(each) for each in value)
    return masked(value) if isinstance(value, str) else value


def _secrets() -> set[str]:
    """Returns the values of all variables that hold a secret, by their name or as `secret_of` was asked for them."""
    found = (value for name, value in os.environ.items() if name in _asked or _NAMES.search(name))
    return {value for value in found if len(value) >= SHORTEST and not os.path.exists(value)}  # noqa: PTH110  # any text
