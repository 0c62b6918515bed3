"""Vectors from a Parquet file, with any type of list, and the error for a bad file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towers.errors import UserError
from towers.features.audio_vectors import AudioVectors

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def read(path, ids=("a", "b", "c"), vectors=ROWS, kind=None, **more):
    """Writes a file with these columns, in several row groups, and reads it back."""
    kind = pa.list_(pa.float32()) if kind is None else kind
    columns = {"content_id": ids, "vector": pa.array(vectors, kind), **more}
    pq.write_table(pa.table(columns), path / "vectors.parquet", row_group_size=2)
    return AudioVectors.read(path / "vectors.parquet", "key")


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.list_(pa.float64()), pa.large_list(pa.float16()),
     pa.list_(pa.int8()), pa.list_(pa.float64(), 2), pa.list_view(pa.float32())],
    ids=str,
)  # fmt: skip
def test_any_list_of_numbers(tmp_path, kind):
    dtype = np.float16 if kind.value_type == pa.float16() else float
    found = read(tmp_path, vectors=[np.array(row, dtype) for row in ROWS], kind=kind, other=[1, 2, 3])
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == ROWS
    assert found.row_of == {"a": 0, "b": 1, "c": 2}


def test_integers_are_ids_as_text(tmp_path):
    assert read(tmp_path, ids=[7, 8, 9]).row_of == {"7": 0, "8": 1, "9": 2}
    assert read(tmp_path, ids=pa.array([7, 8, 9]).cast(pa.decimal128(38, 0))).row_of == {"7": 0, "8": 1, "9": 2}
    texts = pa.array(["x", "y", "z"])
    for ids in (texts.dictionary_encode(), texts.cast(pa.string_view()), texts.cast(pa.large_string())):
        assert read(tmp_path, ids=ids).row_of == {"x": 0, "y": 1, "z": 2}


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"ids": ["a", None, "c"]}, "row 1 has no content_id"),
        ({"ids": ["a", "b", "a"]}, "content_id 'a' is in rows 0 and 2; keep one"),
        ({"ids": [b"a", b"b", b"c"]}, "content_id is binary, must be strings or integers"),
        ({"ids": pa.array(["a", "b", "c"], pa.string_view()), "vectors": [[1.0]] * 2 + [None]}, "row 2 has no vector"),
        ({"ids": [0.5, 1.5, 2.5]}, "content_id is double, must be strings or integers"),
        ({"vectors": [[1.0, 2.0], [3.0], [5.0, 6.0]]}, "row 1 has 1 numbers, must have 2 as the first has"),
        ({"vectors": [[1.0, 2.0], [3.0, 4.0], None]}, "row 2 has no vector, must have 2"),
        ({"vectors": [None, [3.0, 4.0], None]}, "row 0 has no vector, must have 2"),
        ({"vectors": [[], [], []]}, "row 0 has 0 numbers, must have at least one"),
        ({"vectors": [[1.0, 2.0], [3.0, float("nan")], [float("inf"), 0.0]]}, "2 vectors are not finite, .* row 1;"),
        ({"vectors": [[1.0, 2.0], [3.0, None], [5.0, 6.0]]}, "1 vectors are not finite, the first in row 1"),
        ({"vectors": [[1e300, 2.0]] * 3, "kind": pa.list_(pa.float64())}, "3 vectors are not finite"),
        ({"vectors": ["one"] * 3, "kind": pa.string()}, "vector is string, must be lists of numbers"),
        ({"vectors": [["one"]] * 3, "kind": pa.list_(pa.string())}, "vector is list.*must be lists of numbers"),
        ({"ids": pa.array([], pa.string()), "vectors": []}, "has no rows"),
    ],
)
def test_what_will_not_do_gets_one_line(tmp_path, columns, line):
    with pytest.raises(UserError, match=f"^key={tmp_path}/vectors.parquet: .*{line}") as refusal:
        read(tmp_path, **columns)
    assert "\n" not in str(refusal.value)


def test_a_missing_column(tmp_path):
    path = tmp_path / "vectors.parquet"
    for columns, line in (({"content_id": ["a"], "clap": [[1.0]]}, "no column vector; it has content_id, clap"),
                          ({"vector": [[1.0]]}, "no column content_id")):  # fmt: skip
        pq.write_table(pa.table(columns), path)
        with pytest.raises(UserError, match=line):
            AudioVectors.read(path, "key")


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        AudioVectors.read(tmp_path / "nowhere.parquet", "key")
    (tmp_path / "text.parquet").write_text("these are no vectors")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        AudioVectors.read(tmp_path / "text.parquet", "key")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        AudioVectors.read(tmp_path, "key")


@pytest.mark.parametrize("name", ["content_id", "vector"])
def test_a_column_that_is_there_twice(tmp_path, name):
    columns = {"content_id": pa.array(["a"]), "vector": pa.array([[1.0]])}
    table = pa.Table.from_arrays([*columns.values(), columns[name]], [*columns, name])
    pq.write_table(table, tmp_path / "vectors.parquet")
    with pytest.raises(UserError, match=f"column {name} occurs twice"):
        AudioVectors.read(tmp_path / "vectors.parquet", "key")
