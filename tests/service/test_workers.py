"""Several serving processes, one of which has a fault."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command_line import environment
from tests.notified import Inbox, inbox
from tests.service.conftest import GOLDEN

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]

DIES = """
import os, sys, time
from pathlib import Path
from towers.config.composing import compose
from towers.config.instantiate import instantiate
from towers.errors import UserError
from towers.service import server, workers

MODE, FLAG = sys.argv[2], Path(sys.argv[3])
workers.PAUSE_S = 1.0


class Dies(server.Serving):
    def app(self, *given):
        app = super().app(*given)
        if MODE == "refuses" or (MODE == "refuses later" and FLAG.exists()):
            raise UserError("the log is locked")
        if MODE == "dies once" and not FLAG.exists():
            FLAG.touch()
            self.roster.tell(ANY)  # and so it stands in the roster
            os._exit(1)
        return app


from towers.service.roster import Served
ANY = Served(
    version="v0", space_id="s", format=5, towers="1", data_end_s=None, opened_s=1.0, contents=1, listeners=2
)
limits = instantiate(compose("serve", []).limits, "limits")
serving = Dies(
    export=Path(sys.argv[1]), audio_root=None, lists=None, verify="manifest", watch_s=1.0, threads=4, limits=limits,
    stopping_s=1,
)
if __name__ == "__main__":
    server.LAST_S = 1.0
    try:
        server.serve(serving, "127.0.0.1", 0, 2, False)
    except UserError as error:
        print(error)
        sys.exit(2)
"""


@contextmanager
def served(folder: Path, mode: str, manager: Inbox) -> Iterator["subprocess.Popen[str]"]:
    program = folder / "dies.py"
    program.write_text(DIES)
    process = subprocess.Popen(
        [sys.executable, str(program), str(GOLDEN), mode, str(folder / "flag")],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment() | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "4000000", "TMPDIR": str(folder)},
    )  # fmt: skip
    try:
        yield process
    finally:
        for one in noted(folder):
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.kill()
        process.wait()


def noted(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob(".towers-serve*/[0-9]*.json"))


def is_ready(lines: list[str]) -> bool:
    return "READY=1" in lines


def test_what_no_process_can_open_ends_with_a_line(tmp_path: Path) -> None:
    with inbox(tmp_path) as manager, served(tmp_path, "refuses", manager) as process:
        said, _ = process.communicate(timeout=60)
        assert not is_ready(manager.lines)
    assert process.returncode == 2
    assert "towers: a process could not serve: the log is locked" in said
    assert said.splitlines()[-1] == "workers=2: none could serve; the line before says why"
    assert "Traceback" not in said


def test_what_a_process_cannot_open_later_is_tried_again(tmp_path: Path) -> None:
    with inbox(tmp_path) as manager, served(tmp_path, "refuses later", manager) as process:
        manager.wait_for(is_ready, 60)
        (tmp_path / "flag").touch()
        first = noted(tmp_path)
        os.kill(first[0], signal.SIGKILL)
        manager.wait_for(lambda lines: any("by 1 process" in line for line in lines), 30)
        time.sleep(4)
        (tmp_path / "flag").unlink()
        manager.clear()
        manager.wait_for(lambda lines: any("by 2 processes" in line for line in lines), 30)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert 1 <= said.count("could not serve") <= 6
    assert "Traceback" not in said


def test_a_process_that_died_before_it_was_ready_is_struck(tmp_path: Path) -> None:
    with inbox(tmp_path) as manager, served(tmp_path, "dies once", manager) as process:
        lines = manager.wait_for(lambda lines: is_ready(lines) and lines.count("WATCHDOG=1") > 3, 60)
        assert lines[-1] == "WATCHDOG=1"
        time.sleep(1)
        assert len(noted(tmp_path)) == 2
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_hung_process_does_not_hold_the_end_up(tmp_path: Path) -> None:
    with inbox(tmp_path) as manager, served(tmp_path, "serves", manager) as process:
        manager.wait_for(is_ready, 60)
        os.kill(noted(tmp_path)[0], signal.SIGSTOP)
        time.sleep(1.5)  # the first process asks it, and waits for half a minute
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        manager.wait_for(lambda lines: "STOPPING=1" in lines, 8)
        said, _ = process.communicate(timeout=30)
        assert time.monotonic() - begun < 10
    assert "killed" in said
