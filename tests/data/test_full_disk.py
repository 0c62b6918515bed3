"""A disk that fills up while a day is added gives one clear message, and the previous store stays as it was."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.disturbed import disk
from tests.data.test_growing import files_of
from towers.data.store import Store

pytestmark = [
    pytest.mark.slow,
    # Only root on Linux may mount the tmpfs that fills up.
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None, reason="mounts small disks"
    ),
]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """Mounts a disk of 64 MB in memory, and returns a function that makes it smaller."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with ExitStack() as mounts:
        try:
            resized = mounts.enter_context(disk(folder, 64 << 20))
        except subprocess.CalledProcessError:
            # The super-user of a container may lack the right, and no other way to fill a disk spares the machine's.
            pytest.skip("mounts are not allowed here")  # a container without CAP_SYS_ADMIN has no full disk to try
        yield folder, resized


def prepare(raw: Path, disk: Path) -> subprocess.CompletedProcess[str]:
    keys = (f"data.root={raw}", f"paths.stores={disk}", "data.max_duplicate_fraction=1")
    command = [sys.executable, "-m", "towers", "prepare", *keys]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_store_of_before_stays(world_folder, tmp_path, small_disk):
    disk, resized = small_disk
    raw = tmp_path / "raw"
    shutil.copytree(world_folder, raw)
    day = next(iter(sorted((raw / "events").glob("*.parquet"))))
    assert prepare(raw, disk).returncode == 0
    before = Store.open(disk / "parquet")
    files, used = files_of(before.folder), int(sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()))
    shutil.copyfile(day, raw / "events" / "zz-late.parquet")
    refused = 0
    for more_kb in range(0, 40_000, 60):
        resized((used // 1024 + 300 + more_kb) << 10)
        ended = prepare(raw, disk)
        if ended.returncode == 0:
            break
        refused += 1
        assert ended.returncode == 2, ended.stderr[-2_000:]
        assert "no space left on the disk" in ended.stderr.strip().splitlines()[-1]
        assert "Traceback" not in ended.stderr
        assert files_of(before.folder) == files
        # If the last file that did not fit was the profile, the new store is complete by then.
        assert Store.open(disk / "parquet").histories.num_users == before.histories.num_users
        assert not [path.name for path in disk.rglob("*") if ".partial" in path.name]
    assert refused > 2
    assert Store.open(disk / "parquet").fingerprint != before.fingerprint
