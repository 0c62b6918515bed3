"""A signal that ends a command reaches a training in processes of its own, which saves before anything ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from towers.commands.train import _waited_for
from towers.training.stopping import Stopped, ends_on_signals

TRAINING = """
import signal, sys, time
from pathlib import Path

def heard(number, frame):
    time.sleep(0.1)
    Path("saved").touch()
    sys.exit(128 + number)

signal.signal(int(sys.argv[1]), heard)
Path("ready").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_it_is_passed_on_and_waited_for(tmp_path, number):
    def stop_when_ready() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    command = [sys.executable, "-c", TRAINING, str(int(number))]
    threading.Thread(target=stop_when_ready).start()
    with pytest.raises(Stopped) as stopped, ends_on_signals(), subprocess.Popen(command, cwd=tmp_path) as training:
        _waited_for(training)
    assert (stopped.value.code, training.returncode) == (128 + number, 128 + number)
    assert Path(tmp_path / "saved").exists()


def test_without_a_signal_its_exit_code_is_told(tmp_path):
    assert _waited_for(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])) == 3
