"""Tasks spread over processes that are begun afresh, each with one thread for its sums."""

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
"""What says to numerical libraries how many threads a process may have."""
LOOK_S = 1.0
"""Seconds between two looks at how far the processes are."""
Count: TypeAlias = Callable[[int], None]
"""Is given a number: how much was done since it was last called, or in all."""
Worker: TypeAlias = Callable[[int, Count], None]
"""Does the task of a number, and counts as it goes."""


def num_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(begin: Callable[[], Worker], tasks: Sequence[int], workers: int, tell: Count) -> None:
    """Does all tasks; raises what one of them raises, and those that have not begun by then are left out.

    Args:
        begin: makes a worker, once in each process; can be pickled.
        tasks: their numbers.
        workers: processes; with one, or one task, all is done in this.
        tell: is given how much is done in all, from time to time.

    Raises:
        UserError: fewer workers than one, or a process was killed.
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
    """Processes that begin in this block have one thread for their sums: there are enough of them."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, was in before.items():
            os.environ.pop(name) if was is None else os.environ.update({name: was})


class _Process:
    """What a process keeps between its tasks; it ends when the one that began it does."""

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
