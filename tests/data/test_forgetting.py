"""Tests of reading a file of listeners to forget, and of the errors that name file and row."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from tests.data.raw_set import at
from tests.data.read_back import histories_by_id
from tests.lifecycle.naming import naming
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


class TestPrepare:
    """A listener in the file is forgotten like one whom users/ marks as deleted, and stays forgotten."""

    GONE = "ben"

    @pytest.fixture
    def made(self, raw, tmp_path, make_builder):
        def build(**given):
            return make_builder(raw, tmp_path / "stores", max_rejected_fraction=1.0, **given).build()

        before, _ = build()
        assert self.GONE in before.user_ids
        return build, before

    def test_gone_and_not_back(self, made, tmp_path):
        build, before = made
        events = histories_by_id(before)
        shutil.rmtree(before.folder)
        after, is_new = build(forget=[self.GONE, "nobody"])
        assert is_new
        assert after.fingerprint != before.fingerprint
        told = histories_by_id(after)
        assert {name: told[name] for name in events if name != self.GONE} == {
            name: rows for name, rows in events.items() if name != self.GONE
        }
        assert naming(tmp_path / "stores", self.GONE) == []
        for forget in ([], [self.GONE, "nobody"]):
            again, is_new = build(forget=forget)
            assert (again.folder, is_new) == (after.folder, False)

    def test_the_version_of_before_is_not_taken_again(self, made):
        build, before = made
        build(forget=[self.GONE])
        again, _ = build()
        assert again.folder != before.folder
        assert self.GONE not in again.user_ids

    def test_who_returns_is_somebody_new(self, made, raw):
        build, before = made
        row = before.user_ids.tolist().index(self.GONE)
        build(forget=[self.GONE])
        raw_set.write_part(
            raw, "events", raw_set.event_table([(self.GONE, "a1", at(20), "play", 60_000, None)]), part=9
        )
        after, _ = build()
        assert after.user_ids[row] is None
        ((content, action, _),) = histories_by_id(after)[self.GONE]
        assert (content, action) == ("a1", "play")

    def test_who_was_never_there_makes_one_version_and_no_more(self, made):
        build, before = made
        after, is_new = build(forget=["nobody"])
        assert (is_new, histories_by_id(after)) == (True, histories_by_id(before))
        for forget in ([], ["nobody"]):
            assert build(forget=forget)[1] is False
