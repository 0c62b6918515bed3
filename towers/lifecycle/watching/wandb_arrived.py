"""Whether the artifacts that a run has logged are on the server: `wandb sync` ends well, and marks the run as synced,
also where the server has refused them.

As a program (`python -m towers.lifecycle.watching.wandb_arrived PROJECT NAME:ALIAS ...`) it ends with 1 and a line
where one is missing; a night starts it as a process of its own, since a server that falls silent holds wandb up for
minutes.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from towers.lifecycle.watching.watcher import one_line

WHOLE: Final = "COMMITTED"
"""State of an artifact all of whose files are there."""


def missing(names: Sequence[str], find: Callable[[str], Any]) -> Iterator[str]:
    """Yields a line about each artifact that is not whole on the server.

    Args:
        names: of the artifacts, each with an alias (`NAME:ALIAS`).
        find: gives the artifact; raises where there is none.
    """
    for name in names:
        try:
            state = find(name).state
        except Exception as error:  # wandb has an error of its own for each reason
            yield f"{name} is not there: {one_line(error)}"
        else:
            if state != WHOLE:
                yield f"{name} is not whole: {state}"


def main(project: str, names: Sequence[str]) -> None:
    """Ends with 1 and one line where artifacts are missing.

    Args:
        project: on the server.
        names: as `missing` takes them.
    """
    import wandb  # here, because a roll back imports what this module imports

    api = wandb.Api()
    if lines := list(missing(names, lambda name: api.artifact(f"{project}/{name}"))):
        sys.exit("the server lacks artifacts: " + "; ".join(lines))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
