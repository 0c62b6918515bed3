"""Links of versions to a registry, which wandb makes of what has been uploaded: kept in a file until then.

As a program (`python -m towers.lifecycle.watching.wandb_links FOLDER PROJECT`) it makes them; a night starts it as a
process of its own, since a server that falls silent holds wandb up for minutes.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from towers.lifecycle.watching.watcher import one_line
from towers.manifest import alone, read_json, write_json

FILE: Final = "to_link.json"
"""Beside the runs of a data set's nights."""
LOCK: Final = ".to_link.lock"
"""Held while that file is changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A version of an artifact that belongs into a collection of a registry.

    Args:
        artifact: its name.
        version: the alias that is its own for ever.
        registry: `wandb-registry-NAME/COLLECTION`.
        aliases: in the collection.
    """

    artifact: str
    version: str
    registry: str
    aliases: tuple[str, ...]


def kept(folder: Path) -> list[Link]:
    """Reads what is still to be linked, the oldest first.

    Args:
        folder: of the runs.
    """
    path = folder / FILE
    found = read_json(path)["links"] if path.exists() else []
    return [Link(**{**each, "aliases": tuple(each["aliases"])}) for each in found]


def keep(folder: Path, links: Sequence[Link]) -> None:
    """Writes what is still to be linked; no file is left of nothing."""
    if links:
        write_json(folder / FILE, {"links": [asdict(each) for each in links]})
    else:
        (folder / FILE).unlink(missing_ok=True)


def added(links: Sequence[Link], link: Link, moving: Sequence[str]) -> list[Link]:
    """Adds a link to those that are kept, which lose the aliases that it takes over: one that is made later than it
    must not take them back.

    Args:
        links: the oldest first.
        link: the new one.
        moving: the aliases of which a collection has one each, and which tell what serves.

    Returns:
        All of them, the new one last.
    """
    taken = {each for each in link.aliases if each in moving}
    return [*(replace(each, aliases=tuple(one for one in each.aliases if one not in taken)) for each in links), link]


def note(folder: Path, link: Link, moving: Sequence[str]) -> None:
    """Adds a link to those that are kept in a folder, as `added` does; another process may be making links."""
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / LOCK, lambda: None):
        keep(folder, added(kept(folder), link, moving))


def made(folder: Path, find: Callable[[str], Any], tell: Callable[[str], object]) -> str | None:
    """Makes the links that are kept in a folder and whose artifacts have been synced, the newest first: of old ones
    there may be many whose runs nobody uploads any more. Each is struck off as soon as it is made.

    Args:
        folder: of the runs.
        find: gives the artifact of a name and an alias (`NAME:ALIAS`); raises where there is none.
        tell: called with a line about each that is made.

    Returns:
        Why the newest of those that are left was not made; null where none is left.
    """
    why: str | None = None
    for each in reversed(kept(folder)):
        named = f"{each.artifact}:{each.version}"
        try:
            find(named).link(each.registry, [*each.aliases])
        except Exception as error:  # not synced yet, or no such registry: wandb has an error of its own for each
            why = why or f"{named}: {one_line(error)}"
            continue
        tell(f"{named} is linked to {each.registry}")
        with alone(folder / LOCK, lambda: None):
            keep(folder, [other for other in kept(folder) if other != each])
    return why


def main(folder: Path, project: str) -> None:
    """Makes the links that are kept in a folder, as far as their artifacts are there; says which. Ends with 1 and the
    reason where one is left.

    Args:
        folder: of the runs.
        project: on the server.
    """
    import wandb  # here, because links are kept where there is no wandb

    api = wandb.Api()
    if why := made(folder, lambda name: api.artifact(f"{project}/{name}"), print):
        sys.exit(why)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
