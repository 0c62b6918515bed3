"""Maps of rows that last."""

from dataclasses import replace

import pyarrow as pa
import pytest

from towers.data.event_log.rows import RowMap, Rows


@pytest.mark.parametrize("gone", [["a"], ["b", "c"], ["a", "b", "c"]])
def test_what_is_erased_is_not_in_the_digest(gone, tmp_path):
    """The digest is the same after the rows are read again; otherwise a start after a kill would give another store."""
    rows = replace(Rows.none(), users=RowMap(pa.array(["a", "b", "c"])).erased(gone).grown(["d"]))
    rows.write(tmp_path / "rows")
    assert Rows.read(tmp_path / "rows").digest == rows.digest


def test_files_that_are_called_otherwise_keep_their_numbers():
    rows = Rows.none().with_files(["a", "b", "c"])
    before = {"a": "1", "b": "1", "c": "2"}
    now = {"x": "1", "y": "2", "b": "3", "z": "4"}
    assert rows.with_renamed(before, now).files.ids.to_pylist() == ["x", "b", "y"]
    assert rows.with_renamed(before, {"n": "1", "m": "1", "c": "2"}).files.ids.to_pylist() == ["m", "n", "c"]
