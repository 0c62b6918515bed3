"""Secrets come from environment variables alone: a configuration names the variable, and no output shows its value."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from towers.errors import UserError

MASK: Final = "***"
"""Replacement of a secret in output."""
SHORTEST: Final = 8
"""Least number of characters of a secret; a shorter value is too likely part of something else, such as a file name."""
LONG: Final = 16
"""Number of characters from which a secret with letters and digits occurs nowhere by chance."""
_NAMES: Final = re.compile(
    r"(^|_)(KEY|TOKEN|SECRET|PASSPHRASE|CREDENTIALS?|WEBHOOK|DSN|SAS)(_|$)"
    r"|PASSW(OR)?D|(^|_|PG|SSH)(PASS|PWD)(_|$)|CONNECTION_STRING|APIKEY",
    re.IGNORECASE,
)
"""Names of variables and keys whose values count as secrets."""
_FOLDERS: Final = ("PWD", "OLDPWD")
"""Variables of the shell with its present and former folder, which are no secrets."""
_IN_ADDRESS: Final = re.compile(
    r"(?<=://)[^\s/@:\[]*:(?!\d*[/?#])\S+(?=@)"  # to the last @: a password may hold one, and a slash
    r"|(?:(?<=http://)|(?<=https://))[^\s/?#:,\"'<>]+(?=@)"  # elsewhere it is a bucket's or a user's name
)
"""The name and password in an address such as `https://name:password@host`, and the token in `https://token@host`."""
_OF_ENVIRONMENT: Final = re.compile(r"\$\{oc\.env:\s*([^,}\s]+)")
"""A variable that a configuration reads, in its interpolation."""
_asked: set[str] = set()


def secret_of(variable: str, key: str) -> str:
    """Returns the secret that an environment variable holds; from then on `masked` hides it, however it is named.

    Args:
        variable: name of the environment variable.
        key: key of the configuration that names the variable, for the message.

    Raises:
        UserError: the variable is missing or empty.
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
    return _IN_ADDRESS.sub(MASK, _without(text, _secrets()))


def masked_values(value: Any) -> Any:
    """Returns a nested value whose texts are `masked`; all else is unchanged.

    >>> masked_values({"root": ["s3://user:hunter2hunter2@host/bucket", 3]})
    {'root': ['s3://***@host/bucket', 3]}
    """
    if isinstance(value, Mapping):
        return {key: masked_values(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(masked_values(each) for each in value)
    return masked(value) if isinstance(value, str) else value


def masked_settings(value: Any, written: Any = None) -> Any:
    """Returns a configuration without secrets that can still be read: a name that contains a password by chance stays
    whole, and so does every `_target_`.

    A value that is a secret is masked, and so are the password in an address and a long secret inside any value. A
    value that is one plain word (`training`) is masked only where its key is named like a secret. Where the
    configuration reads a secret's variable, its value is masked wherever an interpolation leads to it.

    Args:
        value: plain nested values, with all interpolations resolved.
        written: the same before interpolations are resolved; null: unknown.
    """
    names = {name for name in _OF_ENVIRONMENT.findall(json.dumps(written, default=str)) if _is_secret(name)}
    read = {each for each in map(os.environ.get, names) if each and not _is_path(each)}
    secrets = _secrets()
    long = {secret for secret in secrets if _is_long(secret)}

    def shown(value: Any, raw: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            below = raw if isinstance(raw, Mapping) else {}
            return {name: shown(each, below.get(name), str(name)) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            rows = raw if isinstance(raw, (list, tuple)) and len(raw) == len(value) else [raw] * len(value)
            return type(value)(shown(each, row, key) for each, row in zip(value, rows, strict=True))
        if not isinstance(value, str) or key == "_target_":
            return value
        if value in secrets and (not _is_word(value) or _NAMES.search(key)):
            return MASK
        hidden = long | read if "${" in str(raw) else long
        return _IN_ADDRESS.sub(MASK, _without(value, hidden))

    return shown(value, written, "")


def named_secrets(value: Any) -> Any:
    """Returns a configuration, with its interpolations, in which each value that is a secret of the environment, and
    each long secret inside a value, is replaced by an interpolation of the variable: it means the same, and shows
    no secret.
    """
    if isinstance(value, Mapping):
        return {key: named_secrets(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [named_secrets(each) for each in value]
    if not isinstance(value, str) or "${" in value or "\\" in value:
        return value
    for name, secret in sorted(_variables().items(), key=lambda item: len(item[1]), reverse=True):
        if name.isidentifier() and "${" not in value and (value == secret or _is_long(secret)):
            value = value.replace(secret, f"${{oc.env:{name}}}")
    return value


def _without(text: str, secrets: set[str]) -> str:
    for value in sorted(secrets, key=len, reverse=True):  # the longest first: one may be a part of another
        text = text.replace(value, MASK)
    return text


def _is_word(value: str) -> bool:
    """Returns whether a value may well be a name that has nothing to do with a secret."""
    return len(value) < LONG and value.replace("_", "").isalpha()


def _is_long(secret: str) -> bool:
    return len(secret) >= LONG and any(map(str.isalpha, secret)) and any(map(str.isdigit, secret))


def _is_secret(variable: str) -> bool:
    """Returns whether a variable holds a secret, by its name or because `secret_of` has read it."""
    return variable in _asked or (variable not in _FOLDERS and _NAMES.search(variable) is not None)


def _is_path(value: str) -> bool:
    """Returns whether a value names a file or folder, such as that of a cloud's credentials, which is no secret
    itself."""
    return os.path.exists(value)  # noqa: PTH110 - a Path raises where a text is too long for a name


def _variables() -> dict[str, str]:
    """Returns the secrets of the environment by their variables."""
    found = ((name, value) for name, value in os.environ.items() if _is_secret(name))
    return {name: value for name, value in found if len(value) >= SHORTEST and not _is_path(value)}


def _secrets() -> set[str]:
    """Returns all secrets in the forms in which they may stand in a text."""
    return {form for value in _variables().values() for form in _forms(value) if len(form) >= SHORTEST}


def _forms(secret: str) -> set[str]:
    """Returns a secret as it is, on one line, as Python and JSON write it, and as addresses quote it."""
    forms = {secret, secret.strip(), " ".join(secret.split())}
    shown = {repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    data = os.fsencode(secret)
    quoted = {quote(data), quote(data, safe=""), quote_plus(data)}
    return forms | shown | quoted | {re.sub("%..", lambda found: found[0].lower(), each) for each in quoted}
