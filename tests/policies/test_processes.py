"""Tasks in processes."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from towers.errors import UserError
from towers.policies.processes import Count, Worker, run_tasks


def begin(folder: Path) -> Worker:
    """Returns the worker that writes a file for each task: the process and its threads."""

    def write(task: int, count: Count) -> None:
        if task == 7:
            raise UserError("seven")
        if task == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / str(task)).write_text(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}")
        count(2)

    return write


@pytest.mark.parametrize("workers", [1, 2])
def test_all_are_done(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    told: list[int] = []
    run_tasks(partial(begin, tmp_path), range(3), workers, told.append)
    assert told[-1] == 6
    written = [path.read_text().split() for path in tmp_path.iterdir()]
    assert len(written) == 3
    assert all((int(process) == os.getpid()) == (workers == 1) for process, _ in written)
    assert {threads for _, threads in written} == {"3" if workers == 1 else "1"}
    assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(("task", "said"), [(7, "seven"), (8, "a process was killed")])
def test_a_mistake_comes_through(tmp_path: Path, task: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_tasks(partial(begin, tmp_path), [1, task], 2, lambda done: None)
