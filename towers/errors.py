"""The ways a command ends that are neither success nor a bug."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """The caller's mistake: bad configuration or bad data. Shown as one line; exit code 2.

    The message names the key, the file, the row and the column where they apply, and says what to do.
    """


class DataLacks(UserError):
    """A part that this data does not allow; whoever can do without it goes on."""


def not_among(name: str, known: Iterable[str]) -> str:
    """What is said after a name that is none: the one that is spelled like it, else all that there are.

    >>> not_among("genre", ["kind", "genres"]), not_among("colour", ["kind", "genres"]), not_among("colour", [])
    ('did you mean genres?', 'there are kind, genres', 'there are none')
    """
    names = list(known)
    nearest = get_close_matches(name, names, 1)
    return f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(names) or 'none'}"


def require_counts(**numbers: int) -> None:
    """Holds numbers that count something, such as dimensions, layers or steps, to 1 or more.

    Raises:
        ValueError: one is below; names it. Whoever builds from a configuration adds the key.
    """
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


class GateRefused(Exception):
    """The quality gate refused to publish. Exit code 3."""
