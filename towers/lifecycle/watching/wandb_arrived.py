"""Check that the artifacts that a run has logged are on the server: `wandb sync` succeeds, and marks the run as synced,
even where the server has refused them.

As a program (`python -m towers.lifecycle.watching.wandb_arrived PROJECT NAME:ALIAS ...`) it exits with 1 and a line if
one is missing; a night starts it in a child process, since a server that falls silent blocks wandb for minutes.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from towers.lifecycle.watching.watcher import one_line

WHOLE: Final = "COMMITTED"
"""State of an artifact that has all its files on the server."""


def missing(names: Sequence[str], find: Callable[[str], Any]) -> Iterator[str]:
    """Yields a line about each artifact that is not complete on the server.

    Args:
        names: names of the artifacts, each with an alias (`NAME:ALIAS`).
        find: returns an artifact; raises where there is none.
    """
    for name in names:
        try:
            state = find(name).state
        except Exception as error:  # wandb has many kinds of errors
            yield f"{name} is not there: {one_line(error)}"
        else:
            if state != WHOLE:
                yield f"{name} is not whole: {state}"


def main(project: str, names: Sequence[str]) -> None:
    """Exits with 1 and one line where artifacts are missing.

    Args:
        project: project on the server.
        names: names as for `missing`.
    """
    import wandb  # here, because a rollback imports this module

    api = wandb.Api()
    if lines := list(missing(names, lambda name: api.artifact(f"{project}/{name}"))):
        sys.exit("the server lacks artifacts: " + "; ".join(lines))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
