"""Who takes part in a blend: a listener, or an artist or a playlist."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float, Int, Integer

from towers.contract import schema
from towers.errors import UserError
from towers.policies.listener import Listener
from towers.policies.playlist import Reason
from towers.retrieval.export import Export
from towers.retrieval.query import Query, allowed
from towers.retrieval.search import recommend

OFTEN = 5
"""A content that was chosen so many times is played often."""


@runtime_checkable  # for the tests, which check annotations at run time
class Guest(Protocol):
    """Somebody or something that a blend is for."""

    @property
    def export(self) -> Export:
        """Whose contents all rows mean."""
        ...

    @property
    def identity(self) -> tuple[str, ...]:
        """By which guests are told apart and put in order; it ends with `name`."""
        ...

    @property
    def name(self) -> str:
        """Their id; empty of somebody new."""
        ...

    @property
    def vector(self) -> Float[np.ndarray, " dim"]:
        """Unit, in the export's space."""
        ...

    @property
    def chosen(self) -> Int[np.ndarray, " chosen"]:
        """Rows of what they chose, or of what is theirs; empty of somebody who chose nothing yet."""
        ...

    def refused(self, query: Query) -> Int[np.ndarray, " refused"]:
        """Rows that must not come because of them."""
        ...

    def best(self, query: Query) -> Int[np.ndarray, " best"]:
        """Rows of the `query.k` contents that fit them best, among those that may come."""
        ...

    def utility(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """How well some contents fit them; higher is better, and nothing is said of another guest's scale."""
        ...

    def reason(self, row: int) -> Reason:
        """Why a content is for them."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ListenerGuest:
    """A listener as a guest.

    Args:
        listener: of the export, or somebody new.
    """

    listener: Listener

    @property
    def export(self) -> Export:
        """Whose contents all rows mean."""
        return self.listener.export

    @property
    def name(self) -> str:
        """Their id; empty of somebody new."""
        row = self.listener.user_row
        return "" if row is None else self.export.user_ids[row]

    @property
    def identity(self) -> tuple[str, ...]:
        """By which guests are told apart."""
        if self.name:
            return "listener", self.name
        events = self.listener.standing.events
        told = np.stack([events.timestamp_us, events.content_row, events.action])
        # Of two who are new and told the same neither is the other, unless both are one object.
        return "new", repr(told.tolist()), repr(self.vector.tolist()), str(id(self.listener)), ""

    @property
    def vector(self) -> Float[np.ndarray, " dim"]:
        """Unit, in the export's space."""
        return self.listener.vector

    @property
    def chosen(self) -> Int[np.ndarray, " chosen"]:
        """Rows of what they chose, with repeats."""
        return self.listener.chosen

    def refused(self, query: Query) -> Int[np.ndarray, " refused"]:
        """What they disliked, and what they heard unless that may come."""
        standing = self.listener.standing
        return standing.disliked if query.may_be_heard else np.concatenate([standing.disliked, standing.heard])

    def best(self, query: Query) -> Int[np.ndarray, " best"]:
        """Rows of the contents that fit them best, among those that may come."""
        return recommend(self.export, self.vector, query, self.listener.standing).rows

    def utility(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """How well some contents fit them."""
        return np.asarray(self.listener.utility(rows), np.float64)

    def reason(self, row: int) -> Reason:
        """What they did with it, or with others of its artist."""
        if row in self._said:
            return Reason(kind=self._said[row], because=row)
        if row in self._times:
            return Reason(kind="often" if self._times[row] >= OFTEN else "played", because=row)
        artists = [code for code in self.export.facts.artists[row].tolist() if code in self._by_artist]
        if artists:
            return Reason(kind="listened_artist", because=self._by_artist[artists[0]])
        return Reason(kind="fits" if len(self.chosen) else "popular")

    @cached_property
    def _times(self) -> Counter[int]:
        return Counter(self.chosen.tolist())

    @cached_property
    def _said(self) -> dict[int, str]:
        """What was liked or saved, by the word that was said last."""
        events, words = self.listener.standing.events, {schema.LIKE: "liked", schema.SAVE: "saved"}
        said = np.isin(events.action, list(words)) & events.is_positive
        rows, actions = events.content_row[said].tolist(), events.action[said].tolist()
        return {row: words[action] for row, action in zip(rows, actions, strict=True)}

    @cached_property
    def _by_artist(self) -> dict[int, int]:
        """By code of an artist, what they chose most of it."""
        least_first = [row for row, _ in reversed(self._times.most_common())]
        return {code: row for row in least_first for code in self.export.facts.artists[row].tolist()}


@dataclass(frozen=True, kw_only=True, eq=False)
class BlendPartner:
    """An artist or a playlist as a guest: it likes what is its own, and then what is near to it.

    Args:
        export: whose contents are meant by all rows here.
        row: of the artist or playlist in the contents table.
        members: rows of its contents; empty where they are not known.
    """

    export: Export
    row: int
    members: Integer[np.ndarray, " members"] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, export: Export, name: str, members: Integer[np.ndarray, " members"] | None = None) -> "BlendPartner":
        """The artist or playlist with this id, or this title if only one has it.

        Args:
            export: that has it.
            name: id or title.
            members: rows of its contents; null: of an artist all contents that name it, of a playlist none.

        Raises:
            UserError: there is no such content, or it is neither an artist nor a playlist.
        """
        row = export.content_row(name)
        kind = schema.KINDS[int(export.kinds[row])]
        if kind in schema.PLAYABLE_KINDS:
            raise UserError(f"{name!r}: is of kind {kind}; a listener blends with listeners, artists and playlists")
        if members is None:
            members = _contents_of(export, export.content_ids[row])
        return cls(export=export, row=row, members=members[members != row])

    @property
    def name(self) -> str:
        """Its id."""
        return self.export.content_ids[self.row]

    @property
    def identity(self) -> tuple[str, ...]:
        """By which guests are told apart."""
        return "partner", self.name

    @property
    def vector(self) -> Float[np.ndarray, " dim"]:
        """Unit, in the export's space."""
        return np.asarray(self.export.vectors[self.row])

    @property
    def chosen(self) -> Int[np.ndarray, " chosen"]:
        """Its contents and itself."""
        return np.append(self.members, self.row).astype(np.int64)

    def refused(self, query: Query) -> Int[np.ndarray, " refused"]:
        """Nothing."""
        return np.zeros(0, np.int64)

    def best(self, query: Query) -> Int[np.ndarray, " best"]:
        """Its contents that may come, and what is near to it."""
        near = recommend(self.export, self.vector, query, None).rows
        rows = np.union1d(near, self.members[allowed(self.export, query, None)[self.members]])
        return rows[np.argsort(-self.utility(rows), kind="stable")][: query.k]

    def utility(self, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Inner products, its own contents above all others."""
        is_own = np.isin(rows, self.members)
        return (self.export.vectors[rows] @ self.vector).astype(np.float64) + 2 * is_own  # cosines span 2

    def reason(self, row: int) -> Reason:
        """That it is its own, or near to it."""
        return Reason(kind="from" if row in self.members else "near", because=self.row)


def guest_of(member: Listener | BlendPartner) -> Guest:
    """A member as a guest."""
    return member if isinstance(member, BlendPartner) else ListenerGuest(listener=member)


def _contents_of(export: Export, artist_id: str) -> Int[np.ndarray, " contents"]:
    """Rows of all contents that name an artist."""
    lists = export.contents["artist_ids"].combine_chunks()
    parents = pc.call_function("list_parent_indices", [lists]).to_numpy()
    named = pc.call_function("equal", [pc.call_function("list_flatten", [lists]), artist_id])
    return np.unique(parents[named.fill_null(False).to_numpy(zero_copy_only=False)]).astype(np.int64)
