"""Categories and ids as text: one rule for all types."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import UserError
from towers.features.text import category_text, id_text


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


@pytest.mark.parametrize(("value", "text"), [("7", "7"), ("", ""), (7, "7"), (-7, "-7"), (10**30, str(10**30))])
def test_an_id_is_text_or_an_integer(value, text):
    assert id_text(value) == text


@pytest.mark.parametrize("kind", [np.int8, np.uint64, np.int64])
def test_an_id_of_numpy(kind):
    assert id_text(kind(7)) == "7"


@pytest.mark.parametrize("value", [True, 7.0, np.float64(7), np.bool_(False), b"7", None, [7], date(2026, 1, 5)])
def test_anything_else_is_no_id(value):
    with pytest.raises(UserError, match=r"an id must be text or an integer, and .* is \w+"):
        id_text(value)
