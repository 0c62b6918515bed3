"""Conversion of category values and ids to text; `prepare` and serving share it, so that lookups match."""

import math
from typing import Any

import numpy as np

from towers.errors import UserError

WHOLE_BELOW = 1e15
"""Whole floats below this are written as integers, since an integer column with a null is often read as floats."""


def id_text(value: Any) -> str:
    """Returns a caller's id as text: text unchanged, an integer of Python or NumPy in decimal.

    >>> id_text("u7"), id_text(7), id_text(np.int32(7))
    ('u7', '7', '7')

    Raises:
        UserError: the id has another type; a bool or a float is most often a mistake that its text would hide.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(int(value))
    raise UserError(f"an id must be text or an integer, and {value!r} is {type(value).__name__}")


def category_text(value: Any) -> str | None:
    """Returns `value` as a vocabulary holds it; null for null and for floats that are not finite.

    Booleans become `true` and `false`, integers decimal, and floats the shortest digits that restore them, without a
    fraction if they are whole. A NumPy value is treated like Python's; other types are converted by `str`.

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
