"""Kinds of lists: their names, and what a request for one holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from towers.contract import schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A kind of list as clients see it.

    Args:
        title: title for people.
        does: one sentence on what such a list is.
        users: least and greatest number of listeners; greatest null: any number.
        contents: least and greatest number of contents that it starts from, likewise.
        of: kinds that these contents may have.
        minus: whether contents may be subtracted.
        to: whether it may lead to a named region.
        from_home: whether it can start from a listener's main taste and lead to a region that they would adopt, if no
            contents are given.
        partners: whether artists, playlists and curators may take the place of listeners.
        pool: whether it needs an editor's pool.
        familiar: whether the share of familiar contents may be set.
    """

    title: str
    does: str
    users: tuple[int, int | None] = (0, 0)
    contents: tuple[int, int | None] = (0, 0)
    of: tuple[str, ...] = schema.PLAYABLE_KINDS
    minus: bool = False
    to: bool = False
    from_home: bool = False
    partners: bool = False
    pool: bool = False
    familiar: bool = False


SHOWN: Mapping[str, Shown] = {
    "discover_weekly": Shown(
        title="Discover Weekly", does="Every week pieces that the listener has never met.", users=(1, 1)
    ),
    "mix": Shown(
        title="Mix",
        does="What the listener knows beside what is new to them, in the styles that they listen to.",
        users=(1, 1),
        familiar=True,
    ),
    "on_repeat": Shown(title="On repeat", does="What the listener plays again and again.", users=(1, 1)),
    "blend": Shown(
        title="Blend",
        does="One list for several listeners, with a fair share of the places for each.",
        users=(2, None),
        partners=True,
    ),
    "algotorial": Shown(
        title="Editor’s pool",
        does="An editor’s choice and rules, in the order of each listener.",
        users=(1, 1),
        pool=True,
    ),
    "radio": Shown(
        title="Radio",
        does="Goes on from a piece or an artist, for a listener or for no one in particular.",
        users=(0, 1),
        contents=(1, None),
        of=(*schema.PLAYABLE_KINDS, "artist"),
    ),
    "continuation": Shown(
        title="Continuation",
        does="What goes on from a playlist, or from some pieces.",
        users=(0, 1),
        contents=(1, None),
        of=(*schema.PLAYABLE_KINDS, "playlist"),
    ),
    "path": Shown(title="Path", does="From one piece to another in even steps.", contents=(2, 2)),
    "journey": Shown(
        title="Journey",
        does="From what one knows to where one has not been, in steps that are small by ear and by audience.",
        users=(0, 1),
        contents=(2, 2),
        to=True,
        from_home=True,
    ),
    "arithmetic": Shown(
        title="Add and subtract",
        does="What lies at the sum of some contents less others.",
        contents=(1, None),
        of=schema.KINDS,
        minus=True,
    ),
    "similar_artists": Shown(
        title="Similar artists", does="Artists like an artist.", contents=(1, 1), of=("artist",)
    ),
    "pool_proposal": Shown(
        title="Proposed pool", does="A pool around a few pieces, for an editor to edit.", contents=(1, None)
    ),
}  # fmt: skip
"""Kinds of lists by name, in the order in which they are shown."""
