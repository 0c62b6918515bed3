"""Suggestions for unknown names."""

from collections.abc import Iterable
from difflib import get_close_matches

LIKENESS = 0.75
"""Share of signs in common, as difflib counts them, from which on two names are near each other."""


def near_name(name: str, names: Iterable[str], likeness: float = LIKENESS) -> str | None:
    """The one of `names` that is spelled most like `name`; null where none is near.

    >>> near_name("genre", ["title", "genres"]), near_name("shoe_size", ["title", "genres"])
    ('genres', None)
    """
    return next(iter(get_close_matches(name, list(names), 1, likeness)), None)


def not_among(name: str, known: Iterable[str]) -> str:
    """Returns the end of a message about an unknown name: the known name spelled most like it, else all known names.

    >>> not_among("genre", ["kind", "genres"]), not_among("colour", ["kind", "genres"]), not_among("colour", [])
    ('did you mean genres?', 'there are kind, genres', 'there are none')
    """
    names = list(known)
    meant = near_name(name, names)
    return f"there are {', '.join(names) or 'none'}" if meant is None else f"did you mean {meant}?"
