"""A category as text: one rule, whatever the type it comes in."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.features.text import category_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, "true"),
        (np.bool_(False), "false"),
        (7, "7"),
        (-7.0, "-7"),
        (-0.0, "0"),
        (np.int8(7), "7"),
        (np.float64(0.1), "0.1"),
        (1e300, "1e+300"),
        (float("inf"), None),
        (np.float32("nan"), None),
        ("7.0", "7.0"),
        ("", ""),
        (date(2026, 1, 5), "2026-01-05"),
    ],
)
def test_texts(value, text):
    assert category_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_comes_back(number):
    text = category_text(number)
    assert text is not None
    assert float(text) == number
