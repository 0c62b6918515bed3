"""Continuation of a playlist: pieces that fit those in it."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.policies.listener import Listener
from towers.policies.playlist import Playlist
from towers.policies.playlists.parts import Part, candidate_rows, mean_vector, reasons_of
from towers.retrieval.export import Export
from towers.retrieval.query import Query, allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuationSettings:
    """Weights of a continuation.

    Args:
        closeness: weight of the cosine with the mean of the given pieces.
        listened: weight of the mean co-listening with the given pieces.
        playlists: weight of the share of similar playlists that hold a piece.
        utility: weight of the listener's utility of a piece, where there is a listener.

    Raises:
        UserError: a weight is below 0, or all are 0.
    """

    closeness: int | float = 6.5
    listened: int | float = 1.0
    playlists: int | float = 8.0
    utility: int | float = 0.3

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("closeness", "listened", "playlists", "utility")}
        for name, weight in weights.items():
            if not weight >= 0:
                raise UserError(f"{name}={weight}: must be 0 or more")
        if not any(weights.values()):
            raise UserError(f"{', '.join(weights)}: one of them must be above 0")


class KnownPlaylists:
    """Playlists as neighbours of one that is to be continued (kNN of sets); built once, used many times.

    Args:
        members: content rows of each playlist.
        num_contents: number of contents in the export.
        nearest: number of most similar playlists that are used.
    """

    def __init__(self, members: Ragged, num_contents: int, nearest: int = 200):
        self._lists, self._nearest = members.unique(), nearest
        order = np.argsort(self._lists.values, kind="stable")
        counts = np.bincount(self._lists.values, minlength=num_contents)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._holding = Ragged(offsets, self._lists.list_of_value[order])  # per content the playlists that hold it

    def like(self, given: Int[np.ndarray, " given"], without: int | None = None) -> "LikePlaylists":
        """Returns the playlists that share most with some contents.

        Args:
            given: content rows, all different.
            without: place of a playlist to leave out, such as the one to be continued.
        """
        places, shared = np.unique(self._holding.take(given).values, return_counts=True)
        is_asked = places != (-1 if without is None else without)
        places, shared = places[is_asked], shared[is_asked]
        cosines = shared / np.sqrt(self._lists.lengths[places] * len(given))
        best = np.argsort(-cosines, kind="stable")[: self._nearest]
        return LikePlaylists(members=self._lists.take(places[best]), cosines=cosines[best])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LikePlaylists:
    """Playlists similar to the one to be continued.

    Args:
        members: content rows of each, without repeats.
        cosines: cosines of their sets with the given contents, descending, above 0.
    """

    members: Ragged
    cosines: Float[np.ndarray, " like"]

    def shares(self, rows: Int[np.ndarray, " candidates"]) -> Float[np.ndarray, " candidates"]:
        """Returns for each content the share of these playlists that hold it, weighted by their cosines.

        Args:
            rows: rows of the contents, ascending.
        """
        if not len(self.cosines) or not len(rows):
            return np.zeros(len(rows))
        places = np.minimum(np.searchsorted(rows, self.members.values), len(rows) - 1)
        is_there = rows[places] == self.members.values
        votes = np.repeat(self.cosines, self.members.lengths)
        return np.bincount(places[is_there], votes[is_there], minlength=len(rows)) / self.cosines.sum()


def continuation(
    export: Export,
    given: Int[np.ndarray, " given"],
    *,
    playlists: KnownPlaylists | None = None,
    without: int | None = None,
    listener: Listener | None = None,
    query: Query | None = None,
    settings: ContinuationSettings | None = None,
) -> Playlist:
    """Returns pieces that continue those of a playlist, best first, without these.

    Args:
        export: export of the contents.
        given: rows of the playlist's pieces, at least one.
        playlists: playlists to learn from; null: none.
        without: place among these of the playlist itself, which must not be learned from; null: it is not among them.
        listener: listener of the playlist; null: not known.
        query: which contents are allowed, and how many; null: 100 pieces, including what the listener has heard.
        settings: weights; null: the defaults.

    Raises:
        UserError: no pieces are given.
    """
    settings = settings or ContinuationSettings()
    query = query or Query(k=100, include_heard=True)
    given = np.unique(given).astype(np.int64)
    if not len(given):
        raise UserError("a continuation needs at least one piece to continue from")
    standing = None if listener is None else listener.standing
    among = allowed(export, replace(query, deny=np.concatenate([query.deny, given])), standing)
    near = export.co_listening
    like = None if playlists is None else playlists.like(given, without)
    more = [np.zeros(0, np.int64) if near is None else near.rows[given].ravel()]
    if like is not None:
        more.append(like.members.values)
    rows = candidate_rows(export, among, mean_vector(export.vectors[given])[None], np.concatenate(more))
    if not len(rows):
        return Playlist(rows=rows, scores=np.zeros(0), remark="no allowed pieces are left")
    parts = [
        Part.of_closeness(export, rows, given, settings.closeness),
        Part.of_co_listening(near, rows, given, settings.listened),
    ]
    if like is not None:
        shares = like.shares(rows)
        kinds = np.where(shares > 0, "in_playlists", "")
        parts.append(Part(values=settings.playlists * shares, kinds=kinds, because=np.full(len(rows), -1, np.int64)))
    if listener is not None:
        parts.append(Part.of_listener(listener, rows, settings.utility))
    total = np.sum([one.values for one in parts], axis=0)
    best = np.argsort(-total, kind="stable")[: query.k]
    remark = "" if len(best) == query.k else f"no more than {len(best)} pieces are allowed"
    return Playlist(rows=rows[best], scores=total[best], reasons=reasons_of(export, rows, parts, best), remark=remark)
