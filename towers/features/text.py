"""A value of a category, or an id, as text: the one rule by which `prepare` and serving write and look things up."""

import math
from typing import Any

import numpy as np

from towers.errors import UserError

WHOLE_BELOW = 1e15
"""Whole floats below it are written as integers, which a column of integers becomes as soon as one is missing."""


def id_text(value: Any) -> str:
    """An id that a caller gives: text as it is, an integer of Python or NumPy in decimal.

    >>> id_text("u7"), id_text(7), id_text(np.int32(7))
    ('u7', '7', '7')

    Raises:
        UserError: anything else; a bool or a float is most often a mistake that text would hide.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(int(value))
    raise UserError(f"an id must be text or an integer, and {value!r} is {type(value).__name__}")


def category_text(value: Any) -> str | None:
    """`value` as a vocabulary holds it; null for what is no value (null and floats that are not finite).

    Booleans are `true` and `false`, integers decimal, floats the shortest digits that give them back, without a
    fraction where it is nought. A value of NumPy is as Python's own; anything else is as `str` writes it.

    >>> [category_text(value) for value in (True, 30, 30.0, 0.1, "30", float("nan"), None)]
    ['true', '30', '30', '0.1', '30', None, None]
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < WHOLE_BELOW else repr(value)
    return str(value)
