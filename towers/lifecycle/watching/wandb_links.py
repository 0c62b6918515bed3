"""Links of versions to a registry, which wandb makes only of uploaded artifacts: kept in a file until then.

As a program (`python -m towers.lifecycle.watching.wandb_links FOLDER PROJECT`) it makes them; a night starts it in a
child process, since a server that falls silent blocks wandb for minutes.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from towers.lifecycle.watching.watcher import one_line
from towers.manifest import alone, read_json, write_json

FILE: Final = "to_link.json"
"""File beside the runs of a data set's nights."""
LOCK: Final = ".to_link.lock"
"""Lock held while that file is changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A version of an artifact that belongs into a collection of a registry.

    Args:
        artifact: name of the artifact.
        version: alias that belongs to this version for ever.
        registry: collection, as `wandb-registry-NAME/COLLECTION`.
        aliases: aliases in the collection.
    """

    artifact: str
    version: str
    registry: str
    aliases: tuple[str, ...]


def kept(folder: Path) -> list[Link]:
    """Reads the links that are still to be made, the oldest first.

    Args:
        folder: folder of the runs.
    """
    path = folder / FILE
    found = read_json(path)["links"] if path.exists() else []
    return [Link(**{**each, "aliases": tuple(each["aliases"])}) for each in found]


def keep(folder: Path, links: Sequence[Link]) -> None:
    """Writes the links that are still to be made; without any, no file is left."""
    if links:
        write_json(folder / FILE, {"links": [asdict(each) for each in links]})
    else:
        (folder / FILE).unlink(missing_ok=True)


def added(links: Sequence[Link], link: Link, moving: Sequence[str]) -> list[Link]:
    """Adds a link to those that are kept, which lose the aliases that it takes over: a link made later must not take
    them back.

    Args:
        links: links, the oldest first.
        link: new link.
        moving: aliases of which a collection has one each, and which tell what serves.

    Returns:
        All links, the new one last.
    """
    taken = {each for each in link.aliases if each in moving}
    return [*(replace(each, aliases=tuple(one for one in each.aliases if one not in taken)) for each in links), link]


def note(folder: Path, link: Link, moving: Sequence[str]) -> None:
    """Adds a link to those that are kept in a folder, as `added` does; another process may be making links
    meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / LOCK, lambda: None):
        keep(folder, added(kept(folder), link, moving))


def made(folder: Path, find: Callable[[str], Any], tell: Callable[[str], object]) -> str | None:
    """Makes the links that are kept in a folder and whose artifacts have been synced, the newest first, as there may be
    many old ones whose runs are never uploaded. Each is removed from the file as soon as it is made.

    Args:
        folder: folder of the runs.
        find: returns the artifact of a name and an alias (`NAME:ALIAS`); raises where there is none.
        tell: called with a line about each link that is made.

    Returns:
        Why the newest of the remaining links was not made; null where none remains.
    """
    why: str | None = None
    for each in reversed(kept(folder)):
        named = f"{each.artifact}:{each.version}"
        try:
            find(named).link(each.registry, [*each.aliases])
        except Exception as error:  # not synced yet, no such registry, or another error of wandb
            why = why or f"{named}: {one_line(error)}"
            continue
        tell(f"{named} is linked to {each.registry}")
        with alone(folder / LOCK, lambda: None):
            keep(folder, [other for other in kept(folder) if other != each])
    return why


def main(folder: Path, project: str) -> None:
    """Makes the links that are kept in a folder, as far as their artifacts exist, and prints them. Exits with 1 and the
    reason where one remains.

    Args:
        folder: folder of the runs.
        project: project on the server.
    """
    import wandb  # here, because links are kept where there is no wandb

    api = wandb.Api()
    if why := made(folder, lambda name: api.artifact(f"{project}/{name}"), print):
        sys.exit(why)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
