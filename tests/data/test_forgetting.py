"""A file of listeners to be forgotten: what is read, and what is refused by file and row."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towers.data.forgetting import read_forgotten
from towers.errors import UserError


def test_a_text_file_has_an_id_a_line(tmp_path):
    path = tmp_path / "gone.txt"
    path.write_bytes("\ufeffu2\r\n\n  Zoë Ü \nu2\n007\n".encode())
    assert read_forgotten(path) == ["u2", "Zoë Ü", "007"]


def test_an_empty_file_forgets_nobody(tmp_path):
    (tmp_path / "gone").write_text("\n")
    assert read_forgotten(tmp_path / "gone") == []


@pytest.mark.parametrize(
    "ids", [["a", "b", "a"], pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "b"], pa.large_string())]
)
def test_parquet(tmp_path, ids):
    pq.write_table(pa.table({"other": [None] * len(ids), "user_id": ids}), tmp_path / "gone.parquet")
    assert read_forgotten(tmp_path / "gone.parquet") == ["a", "b"]


def test_integers_are_ids_in_decimal(tmp_path):
    pq.write_table(pa.table({"user_id": [7, 12]}), tmp_path / "gone.parquet")
    assert read_forgotten(tmp_path / "gone.parquet") == ["7", "12"]


def test_csv_keeps_ids_as_they_are_written(tmp_path):
    (tmp_path / "gone.csv").write_text('why,user_id\nasked,007\nasked,NA\n"asked, twice","a,b"\n')
    assert read_forgotten(tmp_path / "gone.csv") == ["007", "NA", "a,b"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.txt", b"u1\nu\xff\n", "gone.txt, line 2: not UTF-8"),
        ("gone.txt", b"u1\n\0\0\n", "gone.txt, line 2: not text"),
        ("gone.parquet", b"PAR1nonsense", "gone.parquet: cannot be read"),
        ("gone.csv", b"user\nu1\n", "gone.csv: no column user_id; there are user"),
        ("gone.csv", b"user_id,why\nu1,x\n,y\n", "gone.csv, row 1: user_id is null"),
        ("gone.csv", b"", "gone.csv: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_by_name(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_forgotten(tmp_path / name)


def test_what_is_no_id(tmp_path):
    pq.write_table(pa.table({"user_id": [1.5]}), tmp_path / "gone.parquet")
    with pytest.raises(UserError, match="user_id is double; ids are text or integers"):
        read_forgotten(tmp_path / "gone.parquet")
    with pytest.raises(UserError, match="nowhere: no such file"):
        read_forgotten(tmp_path / "nowhere")
    with pytest.raises(UserError, match="cannot be read"):
        read_forgotten(tmp_path)
