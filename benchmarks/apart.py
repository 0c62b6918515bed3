"""Processes of their own for what is measured: their environment and cost, servers, and the environments of peers.

It knows no library that is measured, so that it can be imported before any of them.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "benchmarks" / "peers"
"""Programs that run in the environments of peers, and the lists of what those hold."""

_TICKS = os.sysconf("SC_CLK_TCK")


def environment(**variables: str) -> dict[str, str]:
    """This process' environment, in which Python finds this repository first, with further variables."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **variables}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a process."""

    core_s: float
    wall_s: float
    peak_gb: float


def cost_of(arguments: Sequence[Any]) -> Cost:
    """Runs Python with these arguments, and returns what that took.

    Raises:
        SystemExit: the process fails; its output is shown.
    """
    command = [sys.executable, *map(str, arguments)]
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment())
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"failed: {command}\n{said.read().decode(errors='replace')}")
        wall_s = time.perf_counter() - start
    return Cost(core_s=used.ru_utime + used.ru_stime, wall_s=wall_s, peak_gb=used.ru_maxrss * 1024 / 1e9)


def output_of(arguments: Sequence[Any], python: str | Path = sys.executable) -> str:
    """Runs Python with these arguments, and returns what it prints; what it writes to standard error is shown.

    Args:
        arguments: a program and its arguments.
        python: the interpreter.
    """
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def served(export: Path, *settings: str) -> Iterator[tuple[int, str]]:
    """Yields the process of a `towers serve` on a free port, and its address.

    Args:
        export: the folder that is served.
        settings: further ones of the command.
    """
    command = [sys.executable, "-m", "towers", "serve", f"export='{export}'", "port=0", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def cpu_seconds(process: int) -> float:
    """User and system time of a running process and its children."""
    total = 0.0
    for task in [process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]:
        fields = Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


@dataclass(frozen=True, slots=True)
class PeerEnvironment:
    """An environment in which a library runs that ours is compared with; its programs stand in benchmarks/peers.

    Args:
        name: of its folder in the repository's root.
        requirements: the list of benchmarks/peers that its libraries stand in.
        made_with: the interpreter that it needs, such as python3.10; empty for any.
    """

    name: str
    requirements: str
    made_with: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the environment."""
        return ROOT / self.name

    @property
    def python(self) -> Path:
        """Path of the environment's Python interpreter."""
        return self.folder / "bin" / "python"

    @property
    def is_installed(self) -> bool:
        """Returns whether the environment's interpreter exists."""
        return self.python.exists()

    @property
    def makes(self) -> str:
        """The command that makes it."""
        python = f"PYTHON={self.made_with} " if self.made_with else ""
        return f"{python}scripts/peers benchmarks/peers/{self.requirements} {self.name}"

    def program(self, name: str, *arguments: Any) -> list[str]:
        """The command that runs a program of benchmarks/peers there."""
        return [str(self.python), str(PEERS / name), *map(str, arguments)]

    def output_of(self, name: str, *arguments: Any) -> str:
        """Runs a program of benchmarks/peers there, and returns what it prints.

        It has the environment of this process without PYTHONPATH, which would lead it to our libraries.
        """
        own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = self.program(name, *arguments)
        return subprocess.run(command, env=own, check=True, stdout=subprocess.PIPE, text=True).stdout


VOWPAL_WABBIT = PeerEnvironment(".venv-peers-vw", "vowpal_wabbit.txt")
SARDINE = PeerEnvironment(".venv-peers-sardine", "sardine.txt")
GROUPREC = PeerEnvironment(".venv-peers-grouprec", "grouprec.txt")
OBP = PeerEnvironment(".venv-peers-obp", "obp.txt", made_with="python3.10")
RECTOOLS = PeerEnvironment(".venv-peers-torch", "requirements.txt")
REPLAY = PeerEnvironment(".venv-peers-replay", "replay.txt")
RECHUB = PeerEnvironment(".venv-peers-rechub", "rechub.txt")
