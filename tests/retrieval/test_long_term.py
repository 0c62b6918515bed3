"""The later value of a listen, as an export reports it."""

from pathlib import Path

import numpy as np
import pytest

from towers.errors import UserError
from towers.retrieval import files
from towers.retrieval.long_term import LongTerm

KNOWN = LongTerm(
    expected=np.array([0.5, 2.0], np.float32), deviation=np.array([0.1, 0.2], np.float32), days=30, returns_to="artist",
    intercept=1.0, slope=np.array([0.5, -2.0]), prior_deviation=0.3, fitted={"discoveries": 200},
)  # fmt: skip


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    KNOWN.write(tmp_path / "long_term", "space")
    read = LongTerm.read(tmp_path / "long_term", "space")
    np.testing.assert_array_equal(read.expected, KNOWN.expected)
    np.testing.assert_array_equal(read.deviation, KNOWN.deviation)
    np.testing.assert_array_equal(read.slope, KNOWN.slope)
    assert (read.days, read.returns_to, read.intercept, read.prior_deviation, read.fitted) == (
        30, "artist", 1.0, 0.3, {"discoveries": 200},
    )  # fmt: skip


def test_a_new_content_has_a_value_by_its_vector_and_none_below_nothing() -> None:
    assert KNOWN.of_new(np.array([[1, 0], [0, 0.25], [0, 1]], np.float32)).tolist() == [1.5, 0.5, 0.0]


def test_another_space_and_damage_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "long_term"
    KNOWN.write(folder, "space")
    with pytest.raises(UserError, match=r"space_id space is not the export's other"):
        LongTerm.read(folder, "other")
    facts = folder / files.LONG_TERM_FACTS
    facts.write_text(facts.read_text().replace("prior_deviation", "prior"))
    with pytest.raises(UserError, match=r"'prior_deviation' is missing"):
        LongTerm.read(folder, "space")
    (folder / files.LONG_TERM_ARRAYS[0]).unlink()
    with pytest.raises(UserError, match=r"expected\.npy: missing"):
        LongTerm.read(folder, "space")
