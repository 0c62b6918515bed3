"""Lines of text with their numbers, in blocks of any size."""

import bz2
import gzip

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.sources.sets import text_blocks
from towers.data.sources.sets.text_blocks import TextForm, blocks, columns_of
from towers.errors import UserError

TSV = TextForm(delimiter="\t", quote=None, encoding="utf-8", has_header=False)


def read(path, form=TSV, names=("a", "b")):
    bad, done = [], []
    columns = columns_of(path, form, names, ())
    found = list(blocks(path, form, columns, names, lambda *row: bad.append(row), done.append))
    rows = [tuple(row.values()) for row in pa.concat_tables(found).to_pylist()] if found else []
    return rows, bad, done


@settings(max_examples=15, deadline=None)
@given(
    lines=st.lists(st.lists(st.sampled_from(["x", "", '"q', "é", "long" * 9]), min_size=1, max_size=3), max_size=25),
    block_bytes=st.integers(60, 400),
)
def test_every_line_is_a_row_or_bad_under_its_own_number(tmp_path_factory, lines, block_bytes):
    path = tmp_path_factory.mktemp("lines") / "a.tsv"
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_blocks, "BLOCK_BYTES", block_bytes)
        rows, bad, _ = read(path)
    numbered = list(enumerate(lines, start=1))
    assert rows == [(*line, number) for number, line in numbered if len(line) == 2 and any(line)]
    assert [number for number, *_ in bad] == [number for number, line in numbered if len(line) != 2 and line != [""]]


@pytest.mark.parametrize("text", ["1\t2\r\n3\t4\r\n", "1\t2\n3\t4", "1\t2\n\n3\t4\n\n"])
def test_ends_of_lines(tmp_path, text):
    (tmp_path / "a.tsv").write_bytes(text.encode())
    rows, bad, _ = read(tmp_path / "a.tsv")
    assert [row[:2] for row in rows] == [("1", "2"), ("3", "4")]
    assert bad == []


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_packed_in_several_streams(tmp_path, suffix, pack):
    path = tmp_path / f"a.tsv{suffix}"
    path.write_bytes(pack(b"1\t2\n3") + pack(b"\t4\n"))
    rows, _, done = read(path)
    assert rows == [("1", "2", 1), ("3", "4", 2)]
    assert done[-1] == path.stat().st_size


def test_a_delimiter_of_two_signs(tmp_path):
    (tmp_path / "a.dat").write_text("1::a:b\n1:2\n3::4::5\n6::\n")
    rows, bad, _ = read(tmp_path / "a.dat", TextForm(delimiter="::", quote=None, encoding="utf-8", has_header=False))
    assert rows == [("1", "a:b", 1), ("6", "", 4)]
    assert bad == [
        (2, "1 fields where 2 are wanted"), (3, "3 fields where 2 are wanted"),
    ]  # fmt: skip


def test_a_header_says_where_columns_stand(tmp_path):
    (tmp_path / "a.csv").write_text('\ufeffb,x,"a",x\n"2, and",,1,\n')
    rows, bad, _ = read(tmp_path / "a.csv", TextForm(delimiter=",", quote='"', encoding="utf-8", has_header=True))
    assert rows == [("1", "2, and", 2)]
    assert bad == []


def test_a_line_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 100)
    (tmp_path / "a.tsv").write_text("1\t2\n" + "x" * 1_000 + "\t2\n")
    with pytest.raises(UserError, match=r"a\.tsv: damaged, or no text of this form"):
        read(tmp_path / "a.tsv")


@pytest.mark.parametrize("text", ["", "a\tb\n", "a\tb"])
def test_no_rows(tmp_path, text):
    (tmp_path / "a.tsv").write_text(text)
    has_header = bool(text)
    form = TextForm(delimiter="\t", quote=None, encoding="utf-8", has_header=has_header)
    assert read(tmp_path / "a.tsv", form)[0] == []
