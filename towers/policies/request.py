"""The request of a list, the same for every kind of list and for the command line, Python and HTTP."""

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
    """Parts that the lists of one export share and that take a while to build: built at first use, then kept.

    Args:
        export: opened export.
    """

    def __init__(self, export: Export):
        self.export = export

    @cached_property
    def matches(self) -> Matches:
        """Similarity of tastes."""
        return Matches(self.export)

    @cached_property
    def apart(self) -> Apart:
        """Distances between contents."""
        return Apart(self.export)

    @cached_property
    def known_playlists(self) -> KnownPlaylists:
        """Playlists that a continuation learns from."""
        return KnownPlaylists(self.export.playlists.members, len(self.export.contents))

    @cached_property
    def pools(self) -> dict[str, Pool]:
        """The editors' playlists as pools, by id."""
        return {pool.name.removeprefix("playlist "): pool for pool in pools_of_editors(self.export)}


def _no_rows() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """The request of a list; each kind of list reads what it needs, and raises an error for what it lacks.

    Args:
        shared: shared parts of the export that all rows here refer to.
        listeners: listeners of the list; several for a blend.
        partners: artists, playlists or curators that take part in a blend.
        left_out: ids of members of a blend to leave out.
        contents: rows of the contents, artists or playlists that the list starts from.
        minus: rows to subtract.
        to: destination of a journey; null: not given.
        shown: rows of what earlier lists of the kind showed; -1 for what the export does not have.
        pool: an editor's pool, open on the day.
        weights: `[pool]`, weights that give each content of the pool its floor of attention; null: none.
        asked: requested fields of `Query`, by name; each kind of list has its own defaults for the others.
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
        """Export that all rows refer to."""
        return self.shared.export

    def query(self, **defaults: Any) -> Query:
        """Returns the query for allowed contents, with a kind's own defaults; raises as `Query`."""
        return Query(**defaults | dict(self.asked))

    @property
    def listener(self) -> Listener:
        """The only listener; raises `UserError` where there is none, or more."""
        if len(self.listeners) != 1:
            raise UserError(f"user: this kind of list is for one listener, and {len(self.listeners)} are given")
        return self.listeners[0]

    @property
    def listener_if_any(self) -> Listener | None:
        """The only listener, or null for a list without one; raises `UserError` for several."""
        return self.listener if self.listeners else None

    def some_contents(self, what: str, least: int = 1, most: int | None = None) -> Int[np.ndarray, " contents"]:
        """Returns the contents that the list starts from.

        Args:
            what: what they are, in words, for the error message.
            least: least number of contents.
            most: largest number of contents; null: no limit.

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
        """Makes the list; raises `UserError` where the request lacks something, or no list can be made."""
        ...


def name_of(kind: Kind) -> str:
    """Returns a kind's name in configurations and folders, such as `discover_weekly`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(kind).__name__).lower()


def weeks_apart(kind: Kind) -> int:
    """Returns the number of weeks in which shown contents are not repeated; 0 for kinds that ignore earlier lists."""
    return getattr(kind, "weeks_apart", 0)
