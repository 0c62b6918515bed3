"""The libraries that training is timed beside, each in an environment of its own, and trainings that take turns."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import apart
from benchmarks.apart import PeerEnvironment
from benchmarks.one_thread import VARIABLES

HERE = Path(__file__).parent
STEPS = {50: 4, 200: 2}
"""Steps of a peer's timed window, by sequence length; nearly the same for all peers."""
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
"""The C library's allocator then keeps large pieces of memory for the next step, where it would fetch them anew from
the system: up to two fifths of a peer's step. PyTorch's guide to tuning advises allocators that keep them too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A way of training by another library."""

    name: str
    library: str
    """The distribution whose version is told."""
    environment: PeerEnvironment
    program: tuple[str, ...]
    """File of this folder, and arguments that stand before the data."""
    options: tuple[str, ...] = ()
    models: Mapping[str, tuple[str, ...]]
    """Losses of the peer, by model."""
    steps: Mapping[int, int] | None = None
    """Steps of a timed window, by sequence length, where STEPS would be too few."""

    @property
    def is_installed(self) -> bool:
        """Returns whether the environment of the peer is installed."""
        return self.environment.is_installed

    @property
    def makes(self) -> str:
        """The command that makes its environment."""
        return self.environment.makes

    def command(self, data: str) -> list[str]:
        """Starts it; arguments of the comparison follow."""
        program, *before = self.program
        return self.environment.program(program, *before, data, *self.options)

    def window(self, length: int) -> int:
        """Steps of a window."""
        return (self.steps or STEPS)[length]


RECTOOLS = Peer(
    name="RecTools", library="RecTools", environment=apart.RECTOOLS,
    program=("rectools_training.py", "speed"),
    models={"flat": ("softmax",), "sasrec": ("softmax", "sampled_softmax")},
)  # fmt: skip
_REPLAY: dict[str, Any] = {
    "library": "replay-rec", "environment": apart.REPLAY,
    "program": ("replay_training.py",),
}  # fmt: skip
PEERS = (
    RECTOOLS,
    Peer(
        name="RePlay", options=("--way", "plain"), models={"flat": ("softmax",), "sasrec": ("softmax",)}, **_REPLAY
    ),
    Peer(
        name="RePlay, like lengths", options=("--way", "bucketed"),
        models={"flat": ("softmax",), "sasrec": ("softmax", "sampled_softmax")}, **_REPLAY,
    ),
    Peer(
        name="RePlay, like lengths and chunks", options=("--way", "chunked"),
        models={"flat": ("softmax",), "sasrec": ("softmax",)}, **_REPLAY,
    ),
    Peer(
        name="torch-rechub", library="torch-rechub", environment=apart.RECHUB,
        program=("rechub_training.py",), models={"sasrec": ("sampled_softmax",), "two_towers": ("in_batch",)},
        steps={50: 96, 200: 3},
    ),
)  # fmt: skip


def peers_for(model: str, loss: str) -> list[Peer]:
    """Returns the peers that have the model with the loss, installed or not."""
    return [peer for peer in PEERS if loss in peer.models.get(model, ())]


def versions() -> dict[str, dict[str, str]]:
    """Returns the versions of every installed library and of what it computes with."""
    found = {}
    for peer in PEERS:
        if peer.is_installed and peer.library not in found:
            names = (peer.library, "torch", "numpy")
            command = f"import importlib.metadata as m; print(*(m.version(n) for n in {names}))"
            done = subprocess.run([peer.environment.python, "-c", command], capture_output=True, text=True, check=True)
            found[peer.library] = dict(zip(names, done.stdout.split(), strict=True))
    return found


class Side:
    """A training in a process of its own, a window at a time.

    Args:
        command: starts it.
        environment: variables beside ours.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str]):
        self._process = subprocess.Popen(command, **pipes(environment))

    def window(self, steps: int) -> dict[str, float]:
        """Trains so many steps; sequences, targets and core-seconds."""
        return self._ask(str(steps))

    def end(self) -> dict[str, Any]:
        """Ends the training and returns what it then reports."""
        output, _ = self._process.communicate("\n")
        return {name: value for line in output.splitlines() for name, value in json.loads(line).items()}

    def kill(self) -> None:
        """Kills the training, after a failure."""
        self._process.kill()
        self._process.wait()

    def _ask(self, line: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"training ended early: {self._process.args}")
        return json.loads(answer)


def lines_of(command: list[str]) -> Iterator[dict[str, Any]]:
    """Yields the lines that a training reports."""
    with subprocess.Popen(command, **pipes({})) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"failed: {command}")


def pipes(environment: Mapping[str, str]) -> dict[str, Any]:
    """Returns arguments of `Popen` for a training: one thread, and pipes for lines of text."""
    return {
        "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True,
        "env": {**os.environ, **VARIABLES, **environment},
    }  # fmt: skip
