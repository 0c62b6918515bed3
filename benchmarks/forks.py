"""Forks of this process that work together, as the processes of a training do."""

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any


def run_forks(work: Callable[..., None], given: Sequence[tuple[Any, ...]], name: str) -> None:
    """Runs a function in a fork for each tuple of arguments, all at once, and waits for them.

    Forks have imported what this process has, which must not have started a thread.

    Args:
        work: the function.
        given: its arguments in each fork.
        name: of the group, for the message.

    Raises:
        SystemExit: a fork has failed; it has printed why.
    """
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=each) for each in given]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit(f"{name}: exit codes {[process.exitcode for process in processes]}")
