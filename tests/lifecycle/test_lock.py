"""The lock of a data set, between real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from towers.lifecycle.lock import Held, Holder, held

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from towers.lifecycle.lock import held
with held(Path(sys.argv[1]), "the night of 2026-07-28", sys.argv[2] == "wait", print):
    print("works", flush=True)
    input()
print("ends", flush=True)
"""


def started(lock, wait="leave"):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(lock), wait], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "stores" / "catalogue" / ".retrain.lock"


@pytest.fixture
def holder(lock):
    """Starts a process that holds the lock until it reads a line."""
    process = started(lock)
    assert process.stdout.readline() == "works\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_start_says_who_holds_it_and_leaves(lock, holder):
    told = Holder.read(lock)
    assert (told.pid, told.host, told.what) == (holder.pid, socket.gethostname(), "the night of 2026-07-28")
    with pytest.raises(Held) as refusal, held(lock, "another night", False, pytest.fail):
        raise AssertionError("both work")
    assert refusal.value.holder == told
    assert f"(process {holder.pid} on {told.host}) since {told.since}; nothing was done" in str(refusal.value)
    assert Holder.read(lock) == told


def test_a_second_start_waits_for_the_first_ones_end(lock, holder):
    second = started(lock, "wait")
    assert f"waiting for the night of 2026-07-28 by {Holder.read(lock).user}" in second.stdout.readline()
    assert Holder.read(lock).pid == holder.pid
    assert holder.communicate("\n", timeout=20)[0] == "ends\n"
    assert second.stdout.readline() == "works\n"
    assert Holder.read(lock).pid == second.pid
    second.communicate("\n", timeout=20)
    assert lock.read_bytes() == b""


def test_the_lock_of_a_killed_holder_is_free_at_once_and_told(lock, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    told, start = [], time.perf_counter()
    with held(lock, "the next night", False, told.append):
        assert time.perf_counter() - start < 1
        assert Holder.read(lock).pid == os.getpid()
    assert len(told) == 1
    assert f"process {holder.pid} on {socket.gethostname()}" in told[0]
    assert "which has died" in told[0]


def test_a_text_of_another_machine_is_told_with_a_caution(lock):
    """Locks of a network disk may not reach other machines, so that both get one: the text alone tells of the other."""
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"pid": 1, "host": "other", "user": "anna", "since": "then", "what": "a night"}))
    told = []
    with held(lock, "x" * 5_000, False, told.append):
        assert len(Holder.read(lock).what) < 5_000
    assert "by anna (process 1 on other) since then" in told[0]
    assert "if it still runs on other, stop one of the two" in told[0]


@pytest.mark.parametrize("text", ["", "half a text that is", "[]", '{"pid": 1}'])
def test_a_text_that_says_nothing_is_nobody(lock, text):
    lock.parent.mkdir(parents=True)
    lock.write_text(text)
    with held(lock, "outer", False, pytest.fail):
        os.truncate(lock, 0)  # as it is between the lock and the text
        message = "another process, which has just begun"
        with pytest.raises(Held, match=message), held(lock, "inner", False, pytest.fail):
            raise AssertionError("both work")


def test_an_error_lets_go(lock):
    with pytest.raises(RuntimeError), held(lock, "a night", False, pytest.fail):
        raise RuntimeError
    with held(lock, "the next", False, pytest.fail):
        pass
