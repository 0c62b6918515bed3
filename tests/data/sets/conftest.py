"""Fixtures shared by the tests of public data sets."""

import pytest

from tests.data.sets import small


@pytest.fixture
def small_set(tmp_path):
    """Writes a set and returns its folder."""

    def write(name):
        root = tmp_path / "set"
        root.mkdir()
        small.WRITERS[name](root)
        return root

    return write
