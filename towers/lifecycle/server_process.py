"""`towers serve` in a child process, which ends with the block, or with the process that started it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from towers.errors import UserError
from towers.extras import how_to_install
from towers.systemd import without_notifying

HOST = "127.0.0.1"
NEEDS = ("fastapi", "prometheus_client", "uvicorn")
POLL_S = 0.02


class NotServed(Exception):
    """A server that does not begin to serve; the message says why in a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is ready.

    Args:
        host: host that it listens on.
        port: port that it listens on.
        process: process of the server.
    """

    host: str
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def is_alive(self) -> bool:
        """Returns whether the process is still running."""
        return self.process.poll() is None


def check_installed(key: str) -> None:
    """Checks that `towers serve` can be started here.

    Args:
        key: key of the configuration that asks for it; false does without.

    Raises:
        UserError: a package that it needs is not installed.
    """
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{key}=true: `towers serve` needs {' and '.join(missing)}, not installed here; "
            f"{how_to_install('serve')}, or {key}=false, and the reader alone is asked"
        )


@contextmanager
def served_apart(exports: Sequence[Path], timeout_s: float, *settings: str) -> Iterator[list[Server]]:
    """Yields `towers serve` of each export once all are ready, on free ports of this machine only.

    They end when their standard input ends, which is a pipe from this process, and so however this process ends.

    Args:
        exports: folders of versions, or links that the servers follow.
        timeout_s: seconds until they must be ready.
        settings: further arguments of `towers serve`, such as `workers=2`.

    Raises:
        NotServed: one ended before it was ready, or was not ready in time.
    """
    until = time.monotonic() + timeout_s
    with ExitStack() as running:
        started = [running.enter_context(_started(export, settings)) for export in exports]
        servers = []
        for export, (process, said) in zip(exports, started, strict=True):
            try:
                address = urlsplit(_address(process, said, until))
            except NotServed as error:
                raise NotServed(f"{export.name}: towers serve {error}") from None
            servers.append(Server(host=address.hostname or HOST, port=address.port or 0, process=process))
        yield servers


@contextmanager
def _started(export: Path, settings: Sequence[str]) -> "Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]":
    """Starts a server; yields it and the file of its output. A pipe that is not read would fill up and block it."""
    quoted = str(export).replace("'", "\\'")
    command = [
        sys.executable, "-m", "towers", "serve", f"export='{quoted}'", f"host={HOST}", "port=0", "ends_with_input=true",
        *settings,
    ]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, env=without_notifying()
        )
        try:
            yield process, said
        finally:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _address(process: "subprocess.Popen[bytes]", said: IO[bytes], until: float) -> str:
    """Waits for the address that the server prints once it listens."""
    while True:
        has_ended = process.poll() is not None  # checked before reading, so that the output read is complete
        lines = _lines(said)
        ready = next((line for line in lines if line.startswith("serving ")), None)
        if has_ended:
            last = lines[-1] if lines else "it said nothing"
            raise NotServed(f"ended with exit code {process.returncode}: {last}")
        if ready is not None:
            return ready.split()[-1]
        if time.monotonic() > until:
            last = f"; its last line: {lines[-1]}" if lines else ""
            raise NotServed(f"was not ready in time{last}")
        time.sleep(POLL_S)


def _lines(said: IO[bytes]) -> list[str]:
    """Returns all lines printed so far, without an incomplete last one.

    Reads by position: the server writes through the same open file, whose offset must stay.
    """
    text = os.pread(said.fileno(), os.fstat(said.fileno()).st_size, 0).decode(errors="replace")
    return [line.strip() for line in text.splitlines(keepends=True) if line.strip() and line.endswith("\n")]
