"""The check before a night that a file can be appended to asks the system about that very file."""

import pytest

from towers.errors import UserError
from towers.lifecycle.watching.appending import append_line, check_appendable
from towers.lifecycle.watching.open_lineage import OpenLineage


def barred(key, path):
    """Returns the reason why a file cannot be appended to."""
    with pytest.raises(UserError) as told:
        check_appendable(key, path)
    assert str(told.value).startswith(f"{key}={path}: ")
    return str(told.value).removeprefix(f"{key}={path}: ")


def test_a_file_that_is_there_is_enough(tmp_path, monkeypatch):
    """The file may lie in a folder of logs that belongs to another user, who has made the file."""
    path = tmp_path / "nights.jsonl"
    path.write_text("{}\n")

    def refuse(key, folder):
        raise UserError(f"{key}={folder}: cannot be written to")

    monkeypatch.setattr("towers.lifecycle.watching.appending.check_writable", refuse)
    check_appendable("a.key", path)
    assert path.read_text() == "{}\n"
    with pytest.raises(UserError, match="cannot be written to"):
        check_appendable("a.key", tmp_path / "another.jsonl")


def test_what_cannot_be_is_told(tmp_path):
    assert barred("a.key", tmp_path) == "is a folder; give a file in it"
    assert barred("a.key", tmp_path / "none" / "a").startswith(f"no folder {tmp_path / 'none'}; make it")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone" / "a")
    assert barred("a.key", link).startswith(f"no folder {tmp_path / 'gone'}; make it")


def test_each_line_begins_a_line(tmp_path):
    path = tmp_path / "lines"
    path.write_text("cu")
    append_line(path, "ä")
    append_line(path, "b")
    assert path.read_text() == "cu\nä\nb\n"


def test_lineage_is_checked_alike(tmp_path):
    watcher = OpenLineage(str(tmp_path), None, None, "towers", None, timeout_s=1.0, retries=0, at_most_s=1.0)
    with pytest.raises(UserError, match=r"^watchers\.openlineage\.file=.*: is a folder; give a file in it$"):
        watcher.check()
