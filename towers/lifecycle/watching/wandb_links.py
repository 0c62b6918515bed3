"""Links of versions to a registry, which wandb makes of what has been uploaded: kept in a file until then.

As a program (`python -m towers.lifecycle.watching.wandb_links FOLDER PROJECT`) it makes them; a night starts it as a
process of its own, since a server that falls silent holds wandb up for minutes.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from towers.manifest import read_json, write_json

FILE: Final = "to_link.json"
"""Beside the runs of a data set's nights."""


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


def made(links: Sequence[Link], find: Callable[[str], Any], tell: Callable[[str], object]) -> list[Link]:
    """Makes links whose artifacts have been synced meanwhile.

    Args:
        links: the oldest first.
        find: gives the artifact of a name and an alias (`NAME:ALIAS`); raises where there is none.
        tell: called with a line about each that is made.

    Returns:
        Those that are still to be made.
    """
    left: list[Link] = []
    for each in links:
        named = f"{each.artifact}:{each.version}"
        try:
            find(named).link(each.registry, [*each.aliases])
        except Exception:  # not synced yet, or no such registry: wandb has an error of its own for each
            left.append(each)
        else:
            tell(f"{named} is linked to {each.registry}")
    return left


def main(folder: Path, project: str) -> None:
    """Makes the links that are kept in a folder, as far as their artifacts are there; says which.

    Args:
        folder: of the runs.
        project: on the server.
    """
    import wandb  # here, because links are kept where there is no wandb

    api = wandb.Api()
    keep(folder, made(kept(folder), lambda name: api.artifact(f"{project}/{name}"), print))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
