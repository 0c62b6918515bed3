import hashlib
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import UserError
from towers.manifest import (
    FileDigests,
    atomic_directory,
    atomic_file,
    code_versions,
    digest_of,
    digest_of_file,
    library_versions,
    point_to,
    read_json,
    scratch_directory,
    write_json,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def write_and_fail(path):
    path.write_text("half of i")
    raise ZeroDivisionError


@pytest.fixture
def dead_process():
    """Returns the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


class TestAtomicFile:
    def test_is_whole(self, tmp_path):
        target = tmp_path / "new" / "figures.txt"
        with atomic_file(target) as temporary:
            temporary.write_text("all of it")
            assert not target.exists()
        assert target.read_text() == "all of it"
        assert list(target.parent.iterdir()) == [target]

    def test_is_absent_after_a_failure(self, tmp_path):
        with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "figures.txt") as temporary:
            write_and_fail(temporary)
        assert not list(tmp_path.iterdir())

    def test_a_failure_keeps_the_one_before(self, tmp_path):
        target = tmp_path / "figures.txt"
        target.write_text("before")
        with pytest.raises(ZeroDivisionError), atomic_file(target) as temporary:
            write_and_fail(temporary)
        assert target.read_text() == "before"
        assert list(tmp_path.iterdir()) == [target]

    def test_what_a_killed_process_left_is_removed(self, tmp_path, dead_process):
        stale, theirs = (tmp_path / f".figures.txt.{process}.partial" for process in (dead_process, os.getppid()))
        for path in (stale, theirs):
            path.write_text("half")
        with atomic_file(tmp_path / "figures.txt") as temporary:
            temporary.write_text("all of it")
        assert not stale.exists()
        assert theirs.exists()


class TestAtomicDirectory:
    def test_is_whole(self, tmp_path):
        target = tmp_path / "store"
        with atomic_directory(target) as temporary:
            (temporary / "a").write_text("1")
            assert not target.exists()
        assert (target / "a").read_text() == "1"
        assert list(tmp_path.iterdir()) == [target]

    def test_is_absent_after_a_failure(self, tmp_path):
        with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "store") as temporary:
            write_and_fail(temporary / "a")
        assert not list(tmp_path.iterdir())

    def test_the_quicker_process_wins(self, tmp_path):
        target = tmp_path / "store"
        with atomic_directory(target) as temporary:
            (temporary / "a").write_text("late")
            target.mkdir()
            (target / "a").write_text("first")
        assert (target / "a").read_text() == "first"
        assert list(tmp_path.iterdir()) == [target]

    def test_what_a_killed_process_left_is_removed(self, tmp_path, dead_process):
        stale = tmp_path / f".store.{dead_process}.partial"
        other = tmp_path / f".another.{dead_process}.partial"
        for folder in (stale, other):
            folder.mkdir()
            (folder / "a").write_text("half")
        with atomic_directory(tmp_path / "store") as temporary:
            assert not stale.exists()
            assert not list(temporary.iterdir())
        assert other.exists()

    def test_what_a_live_process_writes_is_kept(self, tmp_path):
        theirs = tmp_path / f".store.{os.getppid()}.partial"
        theirs.mkdir()
        with scratch_directory(tmp_path / "store"):
            assert theirs.exists()

    def test_a_name_that_is_another_ones_beginning(self, tmp_path, dead_process):
        longer = tmp_path / f".store.v2.{dead_process}.partial"
        longer.mkdir()
        strange = tmp_path / ".store.notanumber.partial"
        strange.mkdir()
        with scratch_directory(tmp_path / "store"):
            assert longer.exists()
            assert strange.exists()


class TestDigests:
    def test_of_a_value_for_ever(self):
        text = '{"a": "Sigur Rós", "b": [1, 2.5, null]}'
        assert digest_of({"b": [1, 2.5, None], "a": "Sigur Rós"}) == hashlib.sha256(text.encode()).hexdigest()

    @given(st.dictionaries(st.text(), JSON, max_size=4))
    def test_do_not_depend_on_the_order_of_keys(self, value):
        assert digest_of(dict(reversed(value.items()))) == digest_of(value)

    def test_differ(self):
        assert len({digest_of(value) for value in (1, 1.5, "1", [1], {"1": 1}, None)}) == 6

    def test_of_a_file(self, tmp_path):
        (tmp_path / "empty").touch()
        assert digest_of_file(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")


class TestFileDigests:
    @pytest.fixture
    def read(self, monkeypatch):
        """Names of the files that were read."""
        names = []
        monkeypatch.setattr(
            "towers.manifest.digest_of_file", lambda path: names.append(path.name) or digest_of_file(path)
        )
        return names

    @pytest.fixture
    def files(self, tmp_path):
        folder = tmp_path / "sounds"
        folder.mkdir()
        for name in "abc":
            (folder / name).write_text(name)
        return folder

    def test_reads_only_what_changed(self, tmp_path, files, read):
        memory = tmp_path / "digests.json"
        first = FileDigests(memory)
        before = first.of(files.iterdir(), files)
        first.save()
        assert sorted(read) == ["a", "b", "c"]
        read.clear()
        (files / "b").write_text("longer")
        (files / "d").write_text("d")
        after = FileDigests(memory).of(files.iterdir(), files)
        assert sorted(read) == ["b", "d"]
        assert set(after) == set("abcd")
        assert after["a"] == before["a"]
        assert after["b"] != before["b"]

    def test_sees_a_change_of_the_same_size(self, tmp_path, files):
        digests = FileDigests(tmp_path / "digests.json")
        before = digests.of([files / "a"], files)
        (files / "a").write_text("z")
        os.utime(files / "a", ns=(1, 1))
        assert digests.of([files / "a"], files) != before

    def test_does_not_depend_on_order(self, tmp_path, files):
        paths = sorted(files.iterdir())
        digests = FileDigests(tmp_path / "digests.json")
        assert list(digests.of(paths, files)) == list(digests.of(reversed(paths), files))


class TestPointTo:
    def test_points_and_points_anew(self, tmp_path):
        for name in ("v1", "v2"):
            (tmp_path / name).mkdir()
            point_to(tmp_path / "current", tmp_path / name)
            assert (tmp_path / "current").resolve() == tmp_path / name
        assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "v1", "v2"]

    def test_survives_a_move_of_the_whole(self, tmp_path):
        (tmp_path / "exports" / "v1").mkdir(parents=True)
        point_to(tmp_path / "exports" / "current", tmp_path / "exports" / "v1")
        (tmp_path / "exports").rename(tmp_path / "moved")
        assert (tmp_path / "moved" / "current").resolve() == tmp_path / "moved" / "v1"

    def test_readers_never_miss_it(self, tmp_path):
        link, versions = tmp_path / "current", [tmp_path / "v1", tmp_path / "v2"]
        for version in versions:
            version.mkdir()
            (version / "manifest.json").write_text("{}")
        point_to(link, versions[0])
        is_over, misses = threading.Event(), []

        def look():
            while not is_over.is_set():
                if not (link / "manifest.json").exists():
                    misses.append(1)

        reader = threading.Thread(target=look)
        reader.start()
        for number in range(300):
            point_to(link, versions[number % 2])
        is_over.set()
        reader.join()
        assert not misses


class TestJson:
    @given(value=st.dictionaries(st.text(), JSON, max_size=4))
    def test_comes_back(self, tmp_path_factory, value):
        path = tmp_path_factory.mktemp("json") / "value.json"
        write_json(path, value)
        assert read_json(path) == value

    @pytest.mark.parametrize("content", [b"{", b"\xff", b""])
    def test_broken_names_the_file(self, tmp_path, content):
        path = tmp_path / "manifest.json"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"manifest\.json"):
            read_json(path)

    def test_missing_names_the_file(self, tmp_path):
        with pytest.raises(UserError, match=r"manifest\.json: no such file"):
            read_json(tmp_path / "manifest.json")


def test_versions_are_of_what_is_installed():
    versions = code_versions()
    assert {"towers", "numpy", "hydra-core"} <= set(versions)


def test_keys_of_what_is_kept_do_not_change_with_each_commit():
    assert "towers" not in library_versions()


def test_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """A machine that fails in the moment after leaves no folder with half a file."""
    flushed, fsync = set(), os.fsync

    def seen(number: int) -> None:
        flushed.add((os.fstat(number).st_ino, (tmp_path / "whole").exists()))
        fsync(number)

    monkeypatch.setattr(os, "fsync", seen)
    with atomic_directory(tmp_path / "whole") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "part").write_text("some")
        (folder / "link").symlink_to("inner")
    within = [tmp_path / "whole", tmp_path / "whole" / "inner", tmp_path / "whole" / "inner" / "part"]
    assert flushed == {(path.stat().st_ino, False) for path in within}
