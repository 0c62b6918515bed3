"""A full disk: the errors that libraries then raise are recognised, and reported in one line, with no half-written
file.
"""

import errno
import os
import resource
import signal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towers.disk import DiskFull, check_writable, is_full, mount_of, shown, size_of, told_when_full
from towers.manifest import atomic_directory, write_json

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
LIMIT_BYTES = 200_000


@pytest.fixture
def limited(request):
    """Limits each file of this process to 200 kB, or the given size, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (getattr(request, "param", LIMIT_BYTES), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def write_numpy(path):
    np.save(path, np.zeros(1_000_000))


def write_parquet(path):
    pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=100_000)}), path)


def write_torch(path):
    import torch

    torch.save({"x": torch.zeros(1_000_000)}, path)


def write_faiss(path):
    import faiss

    index = faiss.IndexFlatIP(64)
    index.add(np.zeros((10_000, 64), np.float32))
    faiss.write_index(index, str(path))


def write_duckdb(path):
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE x AS SELECT random() AS y FROM range(1000000)")


WRITERS = [write_numpy, write_parquet, write_torch, write_faiss, write_duckdb]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_what_libraries_raise_is_known(write, tmp_path, limited):
    path = tmp_path / "result"
    with pytest.raises(DiskFull) as raised, atomic_directory(path) as folder:
        write(folder / "file.npy")
    message = str(raised.value)
    assert message.startswith(f"{path}: no space left on the disk {mount_of(tmp_path)}")
    assert "are free" in message
    assert "paths.stores" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_whole_stays(tmp_path, limited):
    path = tmp_path / "file.json"
    write_json(path, {"whole": True})
    before = path.read_bytes()
    with pytest.raises(DiskFull, match=r"file\.json: no space left .* 200 kB of it were written"):
        write_json(path, {"long": "x" * 2 * LIMIT_BYTES})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@needs_full
@pytest.mark.parametrize("write", [lambda file: file.write(b"x"), lambda file: np.save(file, np.zeros(9))])
def test_no_space_by_its_number_or_its_words(write):
    with pytest.raises(OSError, match=r"No space left|requested and \d+ written") as raised, FULL.open("wb", 0) as file:
        write(file)
    assert is_full(raised.value)


def test_a_quota():
    assert is_full(OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)))


def test_what_led_to_an_error_counts():
    error = ValueError("something else")
    error.__cause__ = OSError(errno.ENOSPC, "no space")
    assert is_full(error)


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "no such file"), ValueError("full"), KeyError("x")])
def test_another_error_is_none(error, tmp_path):
    assert not is_full(error)
    with pytest.raises(type(error)) as raised, told_when_full(tmp_path, tmp_path):
        raise error
    assert raised.value is error


def test_sizes(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_bytes(b"x" * 3_000)
    (tmp_path / "d").write_bytes(b"x" * 2_000)
    assert size_of(tmp_path) == 5_000
    assert size_of(tmp_path / "nowhere") == 0
    assert shown(5_000) == "5 kB"


def test_the_disk_of_what_is_not_there_yet(tmp_path):
    assert mount_of(tmp_path / "x/y").is_mount()


class TestOnTheCommandLine:
    """The error names the key that moves the written files; the exit code is the caller's."""

    @pytest.fixture
    def prepared(self, raw, tmp_path, capsys, monkeypatch):
        from towers import cli

        def run(**paths):
            overrides = [f"paths.{name}={folder}" for name, folder in paths.items()]
            features = ["features.spectrogram.record_s=1.0", "data.split.validation_days=10", "data.split.test_days=2"]
            code = cli.main(["prepare", f"data.root={raw}", *features, *overrides])
            return code, capsys.readouterr().err

        monkeypatch.chdir(tmp_path)
        return run

    @pytest.mark.parametrize("limited", [6_000], indirect=True)
    def test_prepare(self, prepared, tmp_path, limited):
        code, line = prepared(stores=tmp_path / "stores")
        assert code == 2
        assert line.count("\n") == 1
        assert line.startswith(f"towers: {tmp_path}/stores/parquet/")
        assert line.endswith("free some, or write elsewhere with paths.stores=FOLDER\n")
        assert not list((tmp_path / "stores").rglob("*.partial"))

    def test_an_error_that_names_no_file(self, prepared, tmp_path, monkeypatch):
        from towers.commands import prepare

        def run(config):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(prepare, "run", run)
        code, line = prepared(stores=tmp_path / "stores")
        assert code == 2
        assert "no space left on the disk" in line


# macOS has no O_TMPFILE: there a probe has a name for a moment.
@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no files without a name")
def test_a_probe_that_is_killed_leaves_nothing(tmp_path, monkeypatch):
    def killed(*arguments, **named):
        raise SystemExit

    monkeypatch.setattr("os.unlink", killed)
    check_writable("paths.exports", tmp_path / "exports" / "deep")
    assert list(tmp_path.iterdir()) == []
