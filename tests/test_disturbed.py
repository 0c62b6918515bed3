"""Faults injected into benchmarks hit the intended call and no other."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.disturbed import KILLED, copied, different, ended, failing, files_of, killed_after, started, watched

# The test runner has threads of its own. What is forked here touches none of them: it writes files and ends.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def work(folder: Path) -> None:
    """Makes seven calls that change the file system, and others that do not."""
    (folder / "new").mkdir()
    (folder / "new" / "part").write_text("whole")
    assert list(folder.iterdir())
    (folder / "new" / "part").replace(folder / "new" / "file")
    (folder / "link").symlink_to("new")
    (folder / "new" / "file").read_text()
    with (folder / "new" / "file").open("rb") as file:
        os.fsync(file.fileno())
    (folder / "link").unlink()
    (folder.parent / "elsewhere").write_text("not watched")
    os.truncate(folder / "new" / "file", 0)


DONE = ("mkdir", "open", "replace", "symlink", "fsync", "unlink", "truncate")


def test_every_call_below_the_folder_is_seen(tmp_path: Path) -> None:
    folder, seen = tmp_path / "folder", []
    folder.mkdir()
    with watched(folder, lambda number, name, path: seen.append((number, name))):
        work(folder)
    assert seen == list(enumerate(DONE))


@pytest.mark.parametrize("number", range(len(DONE)))
def test_one_call_fails(tmp_path: Path, number: int) -> None:
    """The fault is an error or the end of the process; the calls before it have done their work."""
    left = []
    for fault in ("ENOSPC", "exit"):
        folder = tmp_path / fault / "folder"
        folder.mkdir(parents=True)

        def disturbed(folder: Path = folder, fault: str = fault) -> int:
            with watched(folder, failing(number, fault)):
                try:
                    work(folder)
                except OSError as error:
                    return 28 if "No space left" in str(error) else 1
            return 0

        assert ended(started(disturbed, tmp_path / "told")) == (KILLED if fault == "exit" else 28)
        left.append(files_of(folder))
    assert left[0] == left[1]
    assert len(left[0]) == (0, 0, 1, 1, 2, 2, 1)[number]


@pytest.mark.parametrize(("work", "is_killed"), [(partial(time.sleep, 60), True), (lambda: None, False)])
def test_a_kill_says_whether_it_came_in_time(tmp_path: Path, work: Callable[[], None], is_killed: bool) -> None:
    assert killed_after(started(work, tmp_path / "told"), 0.0 if is_killed else 30.0) == is_killed


def test_an_error_is_told(tmp_path: Path) -> None:
    assert ended(started(lambda: int("none"), tmp_path / "told")) == 1
    assert "ValueError" in (tmp_path / "told").read_text()


def test_a_copy_is_the_same_and_small_files_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "small").write_text("small")
    (tmp_path / "first" / "large").write_bytes(bytes(2 << 20))
    (tmp_path / "first" / "current").symlink_to("small")
    copied(tmp_path / "first", tmp_path / "second")
    assert different(files_of(tmp_path / "first"), files_of(tmp_path / "second")) == []
    with (tmp_path / "second" / "small").open("a") as file:
        file.write(", but longer")
    assert different(files_of(tmp_path / "first"), files_of(tmp_path / "second")) == ["current", "small"][1:]
