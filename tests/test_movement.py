"""A process counts as moving by its own processor time, by that of its children, and by what it reads and writes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from towers.movement import Movement, Spent

BUSY = "import time\nuntil = time.process_time() + .15\nwhile time.process_time() < until: pass\n"
STARTS_ANOTHER = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {BUSY!r}])\n"


def busy(core_s: float) -> None:
    until = time.process_time() + core_s
    while time.process_time() < until:
        pass


def test_work_moves_and_sleep_does_not() -> None:
    movement = Movement(0.3, 10**12)
    busy(0.1)
    assert movement.since_last()
    time.sleep(0.3)
    assert not movement.since_last()


@pytest.mark.parametrize("program", [BUSY, STARTS_ANOTHER])
def test_work_of_others_counts_while_they_live_and_once(program: str) -> None:
    before = Spent.now()
    with subprocess.Popen([sys.executable, "-S", "-c", f"{program}input()"], stdin=subprocess.PIPE) as process:
        until = time.monotonic() + 20
        while (spent := Spent.now().core_s - before.core_s) < 0.15:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert process.poll() is None
        process.communicate(b"\n")
    assert Spent.now().core_s - before.core_s < spent + 0.2  # not once more as it ends


def test_what_is_written_counts(tmp_path: Path) -> None:
    movement = Movement(1e6, 1_000_000)
    (tmp_path / "few").write_bytes(bytes(1_000))
    assert not movement.since_last()
    (tmp_path / "many").write_bytes(bytes(1_000_000))
    assert movement.since_last()


def test_what_is_read_counts(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(1_000_000))
    movement = Movement(1e6, 1_000_000)
    (tmp_path / "raw").read_bytes()
    assert movement.since_last()
    assert not movement.since_last()


def test_the_look_itself_is_no_movement() -> None:
    """The number of processes on the machine does not matter."""
    Spent.now()
    before, after = Spent.now(), Spent.now()
    assert 0 <= after.moved - before.moved - after.looked < 5_000


def test_without_proc_the_own_time_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("towers.movement.PROC", tmp_path)
    before = Spent.now()
    busy(0.05)
    spent = Spent.now()
    assert spent.core_s > before.core_s  # in hundredths of a second
    assert spent.core_s == pytest.approx(sum(os.times()[:4]), abs=0.05)
    assert spent.moved == 0
