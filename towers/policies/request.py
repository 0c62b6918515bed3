"""What a list is asked for with, the same for every kind of list and through every door."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from towers.errors import UserError
from towers.policies.journey.apart import Apart
from towers.policies.journey.ends import Destination
from towers.policies.listener import Listener
from towers.policies.match import Matches
from towers.policies.playlist import Playlist
from towers.policies.playlists.algotorial import OpenPool
from towers.policies.playlists.continuation import KnownPlaylists
from towers.policies.playlists.guests import BlendPartner
from towers.policies.playlists.pool import Pool
from towers.policies.playlists.pool_file import pools_of_editors
from towers.retrieval.export import Export
from towers.retrieval.query import Query


class Shared:
    """What the lists of one export have in common, and takes a while to make: made when first asked for, then kept.

    Args:
        export: opened.
    """

    def __init__(self, export: Export):
        self.export = export

    @cached_property
    def matches(self) -> Matches:
        """How alike two tastes are."""
        return Matches(self.export)

    @cached_property
    def apart(self) -> Apart:
        """How far contents are apart."""
        return Apart(self.export)

    @cached_property
    def known_playlists(self) -> KnownPlaylists:
        """The playlists that a continuation learns from."""
        return KnownPlaylists(self.export.playlists.members, len(self.export.contents))

    @cached_property
    def pools(self) -> dict[str, Pool]:
        """The editors' playlists as pools, by id."""
        return {pool.name.removeprefix("playlist "): pool for pool in pools_of_editors(self.export)}


def _no_rows() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What is asked of a kind of list; each kind reads what it needs, and says what it lacks.

    Args:
        shared: of the export whose contents are meant by all rows here.
        listeners: whom the list is for; several of a blend.
        partners: artists, playlists or curators that take part in a blend.
        left_out: ids of members of a blend that are left out.
        contents: rows of the contents, artists or playlists that the list goes on from.
        minus: rows of what is subtracted.
        to: where a journey leads; null: it is not said.
        shown: rows of what earlier lists of the kind showed; -1 for what the export does not have.
        pool: of an editor, open on the day.
        weights: `[pool]`, that give each content of the pool its floor of attention; null: none.
        asked: fields of `Query` that somebody asked for, by name; each kind has its own defaults for the others.
    """

    shared: Shared
    listeners: tuple[Listener, ...] = ()
    partners: tuple[BlendPartner, ...] = ()
    left_out: tuple[str, ...] = ()
    contents: Int[np.ndarray, " contents"] = field(default_factory=_no_rows)
    minus: Int[np.ndarray, " minus"] = field(default_factory=_no_rows)
    to: Destination | None = None
    shown: Int[np.ndarray, " shown"] = field(default_factory=_no_rows)
    pool: OpenPool | None = None
    weights: Float[np.ndarray, " pool"] | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def export(self) -> Export:
        """Whose contents are meant."""
        return self.shared.export

    def query(self, **defaults: Any) -> Query:
        """What may come, with a kind's own defaults; raises as `Query`."""
        return Query(**defaults | dict(self.asked))

    @property
    def listener(self) -> Listener:
        """The one whom the list is for; raises `UserError` where there is none, or more."""
        if len(self.listeners) != 1:
            raise UserError(f"user: this kind of list is for one listener, and {len(self.listeners)} are given")
        return self.listeners[0]

    @property
    def listener_if_any(self) -> Listener | None:
        """The one whom the list is for, where it may be for nobody; raises `UserError` for several."""
        return self.listener if self.listeners else None

    def some_contents(self, what: str, least: int = 1, most: int | None = None) -> Int[np.ndarray, " contents"]:
        """The contents that the list goes on from.

        Args:
            what: they are, in words, for the error.
            least: so many at least.
            most: so many at most; null: any number.

        Raises:
            UserError: fewer or more are given.
        """
        if len(self.contents) < least or (most is not None and len(self.contents) > most):
            raise UserError(f"contents: give {what}, such as contents=[ID]; {len(self.contents)} are given")
        return self.contents


@runtime_checkable  # for the tests, which check annotations at run time
class Kind(Protocol):
    """A kind of list."""

    def make(self, request: Request) -> Playlist:
        """The list; raises `UserError` where the request lacks something, or nothing can be given."""
        ...


def name_of(kind: Kind) -> str:
    """A kind's name, as configurations and folders have it, such as `discover_weekly`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(kind).__name__).lower()


def weeks_apart(kind: Kind) -> int:
    """So many weeks nothing comes again in lists of a kind; 0 of one that minds no earlier lists."""
    return getattr(kind, "weeks_apart", 0)
