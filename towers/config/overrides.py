"""Overrides as people type them: quoted where Hydra needs it, and ids recovered from the raw text."""

import re
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import ListConfig

from towers.errors import UserError

TEXT_KEYS = ("user", "content")
"""Keys whose value is an id or a title, even if it looks like a number or a list."""


_OPENING = ("'", '"', "[", "{", "(", "\\")
"""Signs that begin what Hydra reads as a whole: a quotation, a list, a mapping."""
_ITEM = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\\.|[^,\\])+""")
"""Matches an item of a list as typed: commas in quotes or after a backslash do not separate items."""


def quoted(argument: str, is_sweep: bool = False) -> str:
    """Quotes `user=Sigur Rós` as `user='Sigur Rós'`: Hydra allows few signs outside quotes, and the shell removes the
    caller's.

    An argument that parses stays as it is, and so does one that looks like a list, a choice or a quotation. But the
    value of `user` or `content` is always text, with one exception: a choice in a sweep.

    >>> quoted("content=Don't Stop"), quoted("content=A, B"), quoted("content='A, B'"), quoted("seed=1,2")
    ("content='Don\\\\'t Stop'", "content='A, B'", "content='A, B'", 'seed=1,2')
    >>> quoted("data.root=Müsik 2026"), quoted("data.root=it's/run[1]")
    ("data.root='Müsik 2026'", "data.root='it\\\\'s/run[1]'")
    """
    key, equals, value = argument.partition("=")
    is_text = key.lstrip("+") in TEXT_KEYS
    if not equals or argument.startswith("-") or (not is_text and (value[:1] in _OPENING or "${" in value)):
        return argument
    try:
        (override,) = OverridesParser.create().parse_overrides([argument])
    except HydraException:  # a sign that the grammar does not know, or a function
        if is_sweep and "," in value and not is_text:
            return argument
        return f"{key}={quotation(value)}"
    if is_text and not _is_one(override, key, is_sweep):
        return f"{key}={quotation(value)}"
    return argument


def _is_one(override: Override, key: str, is_sweep: bool) -> bool:
    """Returns whether Hydra reads one value, or a choice in a sweep; null means no listener, but is a content's
    title."""
    if override.is_sweep_override():
        return is_sweep
    value = override.value()
    return not isinstance(value, (list, dict)) and (value is not None or key.lstrip("+") != "content")


def quotation(text: str) -> str:
    """Returns the text in Hydra's quotes, in which backslashes are doubled only before a quote."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text) + "'"


def raw_text(key: str, value: Any) -> str | None:
    """Returns an id given as an override as the caller typed it: `user=1e5` is the text `1e5` and not a number.

    Args:
        key: key of the override.
        value: value that Hydra parsed; kept where it is null or text, or did not come from the command line.
    """
    if value is None or isinstance(value, str):
        return value
    text = _typed_override(key)
    return str(value) if text is None else text.strip()


def raw_list(key: str, value: Any) -> list[str] | None:
    """Returns a list of ids given as an override, such as `history=[1e5,'a b']`, each as the caller typed it."""
    if value is None:
        return None
    if not isinstance(value, (list, ListConfig)):
        return [str(raw_text(key, value))]
    text = (_typed_override(key) or "").strip()
    typed = [item.strip() for item in _ITEM.findall(text[1:-1])] if text.startswith("[") else [str(v) for v in value]
    if len(typed) != len(value):
        raise UserError(f"{key}={text}: must be a list of ids")
    return [item if isinstance(item, str) else shown for item, shown in zip(value, typed, strict=True)]


def _typed_override(key: str) -> str | None:
    if not HydraConfig.initialized():
        return None
    for override in reversed(HydraConfig.get().overrides.task):
        name, _, text = override.partition("=")
        if name.lstrip("+") == key:
            return text
    return None
