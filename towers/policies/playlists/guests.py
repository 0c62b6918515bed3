"""Members of a blend: listeners, artists, playlists and curators."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Integer

from towers.contract import schema
from towers.errors import UserError
from towers.policies.listener import Listener
from towers.policies.playlist import Reason
from towers.policies.reasons import reasons_for
from towers.retrieval.export import Export
from towers.retrieval.query import Query, allowed
from towers.retrieval.search import recommend


@runtime_checkable  # for the tests, which check annotations at run time
class Guest(Protocol):
    """A member of a blend: a listener, an artist, a playlist or a curator."""

    @property
    def export(self) -> Export:
        """Export that all rows refer to."""
        ...

    @property
    def identity(self) -> tuple[str, ...]:
        """Key by which guests are distinguished and sorted; it ends with `name`."""
        ...

    @property
    def name(self) -> str:
        """Id of the guest; empty for a new listener."""
        ...

    @property
    def vector(self) -> Float[np.ndarray, " dim"]:
        """Unit vector in the export's space."""
        ...

    @property
    def chosen(self) -> Int[np.ndarray, " chosen"]:
        """Rows of what they chose, or of their own contents; empty without choices."""
        ...

    def refused(self, query: Query) -> Int[np.ndarray, " refused"]:
        """Returns rows of contents that are excluded because of them."""
        ...

    def best(self, query: Query) -> Int[np.ndarray, " best"]:
        """Returns the rows of the `query.k` contents that fit them best, among the allowed ones."""
        ...

    def utility(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns how well contents fit them; higher is better, on a scale of the guest's own."""
        ...

    def reasons(self, rows: Int[np.ndarray, " rows"]) -> tuple[Reason, ...]:
        """Returns the reasons why contents are for them."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ListenerGuest:
    """A listener as a guest.

    Args:
        listener: a listener of the export, or a new one.
    """

    listener: Listener

    @property
    def export(self) -> Export:
        """Export that all rows refer to."""
        return self.listener.export

    @property
    def name(self) -> str:
        """Id of the listener; empty for a new one."""
        row = self.listener.user_row
        return "" if row is None else self.export.user_ids[row]

    @property
    def identity(self) -> tuple[str, ...]:
        """Key by which guests are distinguished."""
        if self.name:
            return "listener", self.name
        events = self.listener.standing.events
        told = np.stack([events.timestamp_us, events.content_row, events.action])
        # Two new listeners with the same history are different guests, unless they are one object.
        return "new", repr(told.tolist()), repr(self.vector.tolist()), str(id(self.listener)), ""

    @property
    def vector(self) -> Float[np.ndarray, " dim"]:
        """Unit vector in the export's space."""
        return self.listener.vector

    @property
    def chosen(self) -> Int[np.ndarray, " chosen"]:
        """Rows of what they chose, with repeats."""
        return self.listener.chosen

    def refused(self, query: Query) -> Int[np.ndarray, " refused"]:
        """Returns what they disliked, and what they heard unless heard contents are allowed."""
        standing = self.listener.standing
        return standing.disliked if query.may_be_heard else np.concatenate([standing.disliked, standing.heard])

    def best(self, query: Query) -> Int[np.ndarray, " best"]:
        """Returns the rows of the contents that fit them best, among the allowed ones."""
        return recommend(self.export, self.vector, query, self.listener.standing).rows

    def utility(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns how well contents fit them."""
        return np.asarray(self.listener.utility(rows), np.float64)

    def reasons(self, rows: Int[np.ndarray, " rows"]) -> tuple[Reason, ...]:
        """Returns reasons: what they did with each content, or with similar ones."""
        return reasons_for(self.listener, rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class BlendPartner:
    """An artist, a playlist or a curator as a guest: it prefers its own contents, then what is near to it.

    Args:
        export: export that all rows refer to.
        name: id of the artist, playlist or curator.
        vector: its unit vector in the space.
        members: rows of its contents; empty where they are not known.
        row: its own row among the contents; -1 for a curator.
    """

    export: Export
    name: str
    vector: Float[np.ndarray, " dim"]
    members: Integer[np.ndarray, " members"]
    row: int = -1

    @classmethod
    def of(cls, export: Export, name: str) -> "BlendPartner":
        """Returns the artist or playlist with this id, or with this title if it is unique.

        Raises:
            UserError: there is no such content, or it is neither an artist nor a playlist.
        """
        row = export.content_row(name)
        kind = schema.KINDS[int(export.kinds[row])]
        if kind in schema.PLAYABLE_KINDS:
            raise UserError(f"{name!r}: is of kind {kind}; a listener blends with listeners, artists and playlists")
        place = export.playlists.place(row)
        members = _by_artist(export, row) if place < 0 else np.unique(export.playlists.members[place])
        vector = np.asarray(export.vectors[row], np.float64)
        return cls(export=export, name=export.content_ids[row], vector=vector, members=members, row=row)

    @classmethod
    def of_curator(cls, export: Export, curator: str) -> "BlendPartner":
        """Returns all playlists of a curator, such as `editor`, or of the listener with this id, as one guest.

        Raises:
            UserError: there are none.
        """
        playlists = export.playlists
        theirs = np.flatnonzero((playlists.curator == curator) | (playlists.owner_id == curator))
        if not len(theirs):
            raise UserError(f"curator={curator}: made none of this export's {len(playlists):,} playlists")
        mean = np.asarray(export.vectors[playlists.content_row[theirs]], np.float64).mean(axis=0)
        vector = mean / max(float(np.linalg.norm(mean)), 1e-12)
        members = np.unique(playlists.members.take(theirs).values)
        return cls(export=export, name=curator, vector=vector, members=members)

    @property
    def identity(self) -> tuple[str, ...]:
        """Key by which guests are distinguished."""
        return ("curator" if self.row < 0 else "content"), self.name

    @property
    def chosen(self) -> Int[np.ndarray, " chosen"]:
        """Rows of its contents and of itself."""
        return np.append(self.members, self.row)[: len(self.members) + (self.row >= 0)].astype(np.int64)

    def refused(self, query: Query) -> Int[np.ndarray, " refused"]:
        """Returns no rows."""
        return np.zeros(0, np.int64)

    def best(self, query: Query) -> Int[np.ndarray, " best"]:
        """Returns its allowed contents, and what is near to it."""
        near = recommend(self.export, self.vector, query, None).rows
        rows = np.union1d(near, self.members[allowed(self.export, query, None)[self.members]])
        return rows[np.argsort(-self.utility(rows), kind="stable")][: query.k]

    def utility(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns inner products, with its own contents above all others."""
        is_own = np.isin(rows, self.members)
        return (self.export.vectors[rows] @ self.vector).astype(np.float64) + 2 * is_own  # cosines span 2

    def reasons(self, rows: Int[np.ndarray, " rows"]) -> tuple[Reason, ...]:
        """Returns for each content that it is the guest's own, or near to it."""
        own, near = ("editor", "fits") if self.row < 0 else ("from", "near")
        return tuple(Reason(kind=own if is_own else near, because=self.row) for is_own in np.isin(rows, self.members))


def guest_of(member: Listener | BlendPartner) -> Guest:
    """Wraps a member as a guest."""
    return member if isinstance(member, BlendPartner) else ListenerGuest(listener=member)


def _by_artist(export: Export, artist: int) -> Int[np.ndarray, " contents"]:
    """Returns the rows of an artist's contents, without the artist's own row."""
    contents = export.artist_rows.list_of_value[export.artist_rows.values == artist]
    return contents[contents != artist]
