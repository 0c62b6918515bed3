"""A signal that ends a command reaches a training in processes of its own, which saves before anything ends."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from towers.commands.train import _ended_badly, _waited_for
from towers.errors import ExitCode, Unreachable, UserError
from towers.training.stopping import Stopped, ends_on_signals

TRAINING = """
import signal, sys, time
from pathlib import Path

def heard(number, frame):
    time.sleep(0.4 if number == signal.SIGINT else 0.1)  # after that signal Python itself waits for 0.25 s
    Path("saved").touch()
    sys.exit(128 + number)

signal.signal(int(sys.argv[1]), heard)
Path("ready").touch()
time.sleep(60)
"""


@pytest.fixture
def training(tmp_path):
    """Returns a function that starts a training and does not wait for it; the training ends by the given signal."""
    started = []

    def start(number):
        started.append(subprocess.Popen([sys.executable, "-c", TRAINING, str(int(number))], cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def when_ready(folder, call):
    def wait() -> None:
        while not (folder / "ready").exists():
            time.sleep(0.01)
        call()

    threading.Thread(target=wait).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_it_is_passed_on_and_waited_for(tmp_path, training, number):
    process = training(number)
    when_ready(tmp_path, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Stopped) as stopped, ends_on_signals():
        _waited_for(process)
    assert (stopped.value.code, process.returncode) == (128 + number, 128 + number)
    assert (tmp_path / "saved").exists()


@pytest.fixture
def terminal():
    """Makes the process react to the terminal's signal, which processes in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("terminal")
def test_the_terminal_tells_all_processes_and_the_training_is_waited_for(tmp_path, training):
    process = training(signal.SIGINT)

    def interrupt() -> None:
        for each in (process.pid, os.getpid()):
            os.kill(each, signal.SIGINT)

    when_ready(tmp_path, interrupt)
    with pytest.raises(KeyboardInterrupt), ends_on_signals():
        _waited_for(process)
    assert process.returncode == 128 + signal.SIGINT
    assert (tmp_path / "saved").exists()


def night_after(program):
    """Returns the error of a night after a training in processes of its own that ran a program."""
    return _ended_badly(_waited_for(subprocess.Popen([sys.executable, "-c", program])), "runs/demo/abc: the training")


def test_a_training_that_is_killed_may_succeed_later():
    ended = night_after("import os; os.kill(os.getpid(), 9)")
    assert type(ended) is Unreachable
    assert str(ended).startswith("runs/demo/abc: the training was killed by signal 9; for want of memory, unless")


@pytest.mark.parametrize(
    ("program", "kind", "code"),
    [
        ("raise SystemExit(2)", UserError, ExitCode.CALLER),
        ("raise ValueError", Unreachable, ExitCode.FAILED),
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", Unreachable, ExitCode.FAILED),
    ],
)
def test_its_exit_code_is_passed_on(program, kind, code, capfd):
    ended = night_after(program)
    assert type(ended) is kind
    assert not isinstance(ended, Stopped)
    assert ended.exit_code == code


def test_one_that_was_told_to_end_by_somebody_else_ends_the_night_in_the_same_way():
    ended = night_after("raise SystemExit(143)")
    assert isinstance(ended, Stopped)
    assert ended.code == ExitCode.TERMINATED


def test_without_a_signal_its_exit_code_is_told(tmp_path):
    assert _waited_for(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])) == 3
