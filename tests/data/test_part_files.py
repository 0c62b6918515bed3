"""Files that are read of a table's folder: all that a writer meant to be, each once, and no dead ones."""

import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towers.data.sources.parquet_folder import ParquetFolder
from towers.data.sources.part_files import part_files
from towers.errors import UserError


@pytest.fixture
def events(tmp_path):
    """A folder of one part file."""
    return made(tmp_path / "events", "part-0.parquet")


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def names(folder):
    return [str(path.relative_to(folder)) for path in part_files(folder)[0]]


def test_in_any_depth_and_in_order(events):
    made(events, "day=2/b.parquet", "day=1/hour=3/c.parquet", "part-1.PARQUET", "d.parq", "e.pq", "x.parquet/f.parquet")
    assert names(events) == [
        "d.parq", "day=1/hour=3/c.parquet", "day=2/b.parquet", "e.pq", "part-0.parquet", "part-1.PARQUET",
        "x.parquet/f.parquet",
    ]  # fmt: skip


def test_what_a_writer_keeps_for_itself(events):
    made(events, "._part-0.parquet", "_metadata.parquet", ".part-0.parquet.crc", "_SUCCESS", "_temporary/0/a.parquet",
         ".ipynb_checkpoints/a.parquet", "day=1/._a.parquet")  # fmt: skip
    assert part_files(events) == ([events / "part-0.parquet"], [])


def test_a_folder_above_may_begin_with_an_underscore(tmp_path):
    assert names(made(tmp_path / "_raw/.x/events", "a.parquet")) == ["a.parquet"]


def test_other_files_are_told(events):
    made(events, "part-1.csv", "day=1/part-2.parquet.gz")
    assert part_files(events)[1] == [events / "day=1/part-2.parquet.gz", events / "part-1.csv"]


def test_parquet_of_another_name(events):
    for name in ("000000_0", "a.parquet.gzip"):  # Hive's and Athena's; the one of pandas' own manual
        pq.write_table(pa.table({"user_id": ["a"]}), events / name)
    assert part_files(events) == ([events / "000000_0", events / "a.parquet.gzip", events / "part-0.parquet"], [])


def test_no_folder(tmp_path):
    assert part_files(tmp_path / "users") == ([], [])


class TestLinks:
    def test_to_a_folder_and_to_a_file(self, events, tmp_path):
        archive = made(tmp_path / "archive", "2024/a.parquet", "b.parquet")
        (events / "2024").symlink_to(archive / "2024", target_is_directory=True)
        (events / "c.parquet").symlink_to(archive / "b.parquet")
        assert names(events) == ["2024/a.parquet", "c.parquet", "part-0.parquet"]

    def test_the_whole_table(self, events, tmp_path):
        (tmp_path / "linked").symlink_to(events, target_is_directory=True)
        assert names(tmp_path / "linked") == ["part-0.parquet"]

    def test_a_loop_is_read_once(self, events):
        made(events, "day=1/a.parquet")
        (events / "day=1/up").symlink_to(events, target_is_directory=True)
        (events / "day=1/self").symlink_to(events / "day=1", target_is_directory=True)
        assert names(events) == ["day=1/a.parquet", "part-0.parquet"]

    def test_two_ways_to_a_file_are_one(self, events, tmp_path):
        archive = made(tmp_path / "archive", "a.parquet")
        for name in ("x", "y"):
            (events / name).symlink_to(archive, target_is_directory=True)
        assert names(events) == ["part-0.parquet", "x/a.parquet"]

    @pytest.mark.parametrize("name", ["2023", "b.parquet"])
    def test_one_that_leads_nowhere_is_refused(self, events, tmp_path, name):
        (events / name).symlink_to(tmp_path / "gone")
        with pytest.raises(UserError, match=rf"events/{name}: a link that leads nowhere .*gone"):
            part_files(events)

    def test_one_that_leads_to_itself_is_refused(self, events):
        (events / "round.parquet").symlink_to(events / "round.parquet")
        with pytest.raises(UserError, match=r"round\.parquet: a link that leads nowhere"):
            part_files(events)

    def test_a_hidden_one_does_not_matter(self, events, tmp_path):
        (events / ".#lock").symlink_to(tmp_path / "gone")
        assert names(events) == ["part-0.parquet"]


class TestLogs:
    """Folders with a log that names the files that are alive."""

    @pytest.mark.parametrize(
        ("mark", "words"),
        [
            ("_delta_log/00000000000000000000.json", "a Delta table.*delta_scan"),
            ("metadata/v1.metadata.json", "an Iceberg table.*iceberg_scan"),
            ("metadata/00000-1b.gz.metadata.json", "an Iceberg table"),
            (".hoodie/hoodie.properties", "a Hudi table"),
            ("_spark_metadata/0", "what a Spark stream writes"),
        ],
    )
    @pytest.mark.parametrize("inner", ["", "plays"])
    def test_refused(self, events, mark, words, inner):
        made(events / inner, mark, "data/a.parquet")
        with pytest.raises(UserError, match=words) as raised:
            part_files(events)
        assert str(raised.value).startswith(f"{events / inner}: ")

    def test_the_data_set_itself(self, tmp_path):
        made(tmp_path, "_delta_log/0.json", "a.parquet")
        with pytest.raises(UserError, match="a Delta table"):
            ParquetFolder(str(tmp_path)).inputs()

    def test_metadata_of_another_kind(self, events):
        made(events, "metadata/a.parquet")
        assert names(events) == ["metadata/a.parquet", "part-0.parquet"]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
def test_a_name_that_is_not_utf8_is_refused(events):
    os.close(os.open(os.fsencode(events) + b"/M\xfcsik.parquet", os.O_CREAT))
    with pytest.raises(UserError, match="not UTF-8"):
        part_files(events)


@pytest.mark.skipif(os.geteuid() == 0, reason="root lists everything")
def test_a_folder_that_cannot_be_listed_is_refused(events):
    made(events, "day=1/a.parquet")
    (events / "day=1").chmod(0)
    try:
        with pytest.raises(UserError, match="day=1: cannot be listed"):
            part_files(events)
    finally:
        (events / "day=1").chmod(0o700)
