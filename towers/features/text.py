"""A value of a category as text: the one rule by which `prepare` fills a vocabulary and serving looks things up."""

import math
from typing import Any

import numpy as np

WHOLE_BELOW = 1e15
"""Whole floats below it are written as integers, which a column of integers becomes as soon as one is missing."""


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
