"""Tasks spread over fresh processes, each with one thread for numerical libraries."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, TypeAlias

from towers.errors import UserError

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that tell numerical libraries how many threads to use."""
LOOK_S = 1.0
"""Seconds between two checks of the progress."""
Count: TypeAlias = Callable[[int], None]
"""Function that is given a number: how much was done since its last call, or in all."""
Worker: TypeAlias = Callable[[int, Count], None]
"""Function that does the task with a given number, and counts as it goes."""


def num_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(begin: Callable[[], Worker], tasks: Sequence[int], workers: int, tell: Count) -> None:
    """Does all tasks; raises what a task raises, and skips tasks that have not begun by then.

    Args:
        begin: makes a worker, once in each process; has to be picklable.
        tasks: numbers of the tasks.
        workers: number of processes; with one process, or one task, everything is done in this process.
        tell: called from time to time with how much is done in all.

    Raises:
        UserError: `workers` is below 1, or a process was killed.
    """
    if workers < 1:
        raise UserError(f"workers={workers}: must be at least 1")
    if min(workers, len(tasks)) < 2:
        _run_here(begin, tasks, tell)
        return
    context = get_context("spawn")
    counter = context.Value("q", 0)
    with (
        _one_thread_each(),
        ProcessPoolExecutor(min(workers, len(tasks)), context, _Process.begin, (begin, counter)) as processes,
    ):
        waiting = {processes.submit(_Process.run, task) for task in tasks}
        try:
            while waiting:
                done, waiting = wait(waiting, LOOK_S, FIRST_EXCEPTION)
                for one in done:
                    one.result()
                tell(counter.value)
        except BrokenProcessPool as error:
            raise UserError("workers: a process was killed, most often for want of memory; give fewer") from error
        finally:
            processes.shutdown(wait=False, cancel_futures=True)


def _run_here(begin: Callable[[], Worker], tasks: Sequence[int], tell: Count) -> None:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        tell(done)

    worker = begin() if tasks else None
    for task in tasks:
        assert worker is not None
        worker(task, count)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Gives processes that begin in this block one thread for numerical libraries: there are enough processes."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, was in before.items():
            os.environ.pop(name) if was is None else os.environ.update({name: was})


class _Process:
    """State of a process between its tasks; the process ends when its parent does."""

    worker: Worker
    counter: Any

    @classmethod
    def begin(cls, begin: Callable[[], Worker], counter: Any) -> None:
        cls.worker, cls.counter = begin(), counter
        parent = parent_process()
        if parent is not None:
            threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()

    @classmethod
    def run(cls, task: int) -> None:
        cls.worker(task, cls.count)

    @classmethod
    def count(cls, more: int) -> None:
        with cls.counter.get_lock():
            cls.counter.value += more
