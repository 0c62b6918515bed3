"""Radio: pieces that continue from a piece or an artist, with or without a listener."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from towers.contract import schema
from towers.errors import UserError
from towers.features.ragged import Ragged
from towers.policies.candidates import candidates
from towers.policies.listener import Listener
from towers.policies.playlist import Playlist, Reason
from towers.policies.playlists.hearing import vector_after
from towers.policies.playlists.parts import Part, candidate_rows, mean_vector, reasons_of
from towers.retrieval.export import Export
from towers.retrieval.query import Query, allowed

PIECES_OF_ARTIST = 5
"""Number of an artist's pieces that represent an artist seed where only pieces can be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RadioSettings:
    """Weights of a radio; they are log odds, beside those of a listen.

    Args:
        closeness: weight of the cosine with the radio's present position.
        first_closeness: factor on this weight for the first piece.
        hearing: weight of how much nearer the listener is to a piece after playing the seeds.
        listened: weight of being a neighbour of the seeds by co-listening.
        popularity: weight of the logarithm of 1 + all listeners' latest plays, for a radio without a listener.
        drift: how far the radio moves with each piece, 0 to 1: 0 stays at the seeds, 1 continues from the last piece.
        max_in_row: largest number of consecutive pieces of one artist.

    Raises:
        UserError: a weight is below 0, `drift` is outside 0 to 1, or `max_in_row` is below 1.
    """

    closeness: int | float = 1.5
    first_closeness: int | float = 2.0
    hearing: int | float = 5.0
    listened: int | float = 0.5
    popularity: int | float = 0.2
    drift: int | float = 0.05
    max_in_row: int = 3

    def __post_init__(self) -> None:
        for name in ("closeness", "first_closeness", "hearing", "listened", "popularity"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name}={getattr(self, name)}: must be 0 or more")
        if not 0 <= self.drift <= 1:
            raise UserError(f"drift={self.drift}: must be 0 (stays at the seeds) to 1 (continues from the last piece)")
        if self.max_in_row < 1:
            raise UserError(f"max_in_row={self.max_in_row}: must be at least 1")


def radio(
    export: Export,
    seeds: Int[np.ndarray, " seeds"],
    *,
    listener: Listener | None = None,
    query: Query | None = None,
    settings: RadioSettings | None = None,
) -> Playlist:
    """Returns pieces that continue from some contents, in playing order, without the seeds.

    Pieces are added one by one: the best by its closeness to the radio's position, by co-listening with the seeds, by
    the listener's utility, and by where hearing the seeds moves the listener. The position starts at the seeds and
    moves slowly with what is played.

    Args:
        export: export of the contents.
        seeds: rows of pieces or artists, at least one.
        listener: listener of the radio; null: none in particular.
        query: which contents are allowed, and how many; null: 25 pieces, including heard ones.
        settings: weights; null: the defaults.

    Raises:
        UserError: there are no seeds.
    """
    settings = settings or RadioSettings()
    query = query or Query(k=25, include_heard=True)
    if not len(seeds):
        raise UserError("seeds: give at least one piece or artist that the radio starts from")
    standing = None if listener is None else listener.standing
    among = allowed(export, replace(query, deny=np.concatenate([query.deny, seeds])), standing)
    if export.recordings is not None:
        among[np.isin(export.recordings, export.recordings[seeds])] = False
    pieces = _pieces(export, seeds)
    more = [pieces] if export.co_listening is None else [pieces, export.co_listening.rows[pieces].ravel()]
    if listener is not None:
        more.append(candidates(listener, query))
    rows = candidate_rows(export, among, mean_vector(export.vectors[seeds])[None], np.concatenate(more))
    if not len(rows):
        return Playlist(rows=rows, scores=np.zeros(0), remark="no allowed pieces are left")
    places, scores, reasons = _Tuning(export, rows, seeds, pieces, listener, settings).played(query.k)
    remark = (
        ""
        if len(places) == query.k
        else f"{len(places)} of {query.k} places are filled: no other piece is allowed to follow"
    )
    return Playlist(rows=rows[places], scores=np.array(scores), reasons=tuple(reasons), remark=remark)


class _Tuning:
    """Candidates, with the parts of their scores that depend on the radio's position and those that do not."""

    def __init__(
        self,
        export: Export,
        rows: Int[np.ndarray, " candidates"],
        seeds: Int[np.ndarray, " seeds"],
        pieces: Int[np.ndarray, " pieces"],
        listener: Listener | None,
        settings: RadioSettings,
    ):
        self._export, self._settings, self._rows = export, settings, rows
        self._vectors = export.vectors[rows]
        self._artists = export.facts.artists.take(rows)
        self._recordings = rows if export.recordings is None else export.recordings[rows]
        self._start = mean_vector(export.vectors[seeds])
        self._closeness = Part.of_closeness(export, rows, seeds, settings.closeness)
        self._fixed = [Part.of_co_listening(export.co_listening, rows, pieces, settings.listened)]
        if listener is None:
            self._fixed.append(Part.of_popularity(export, rows, settings.popularity))
        else:
            self._fixed.append(Part.of_listener(listener, rows, 1.0))
            self._fixed.append(_hearing(listener, rows, pieces, settings.hearing))

    def played(self, k: int) -> tuple[list[int], list[float], list[Reason]]:
        """Returns places of the picks among the candidates, their scores, and their reasons."""
        here, closeness = self._start, self._settings.closeness * self._settings.first_closeness
        fixed = np.sum([part.values for part in self._fixed], axis=0)
        is_left, may_come = np.ones(len(self._rows), bool), np.ones(len(self._rows), bool)
        places: list[int] = []
        scores: list[float] = []
        reasons: list[Reason] = []
        while len(places) < k and may_come.any():
            near = closeness * (self._vectors @ here).astype(np.float64)
            score = np.where(may_come, fixed + near, -np.inf)
            place = int(score.argmax())
            reasons.append(self._reason(place, near, places))
            places.append(place)
            scores.append(float(score[place]))
            is_left[self._recordings == self._recordings[place]] = False
            may_come = is_left & ~_by(self._artists, self._in_a_row(places))
            here = _moved(here, self._vectors[place], self._settings.drift)
            closeness = self._settings.closeness
        return places, scores, reasons

    def _in_a_row(self, places: Sequence[int]) -> set[int]:
        """Returns the artists who may not follow now: all of the last pieces are by them."""
        last = [set(self._artists[place].tolist()) for place in places[-self._settings.max_in_row :]]
        return set.intersection(*last) if len(last) == self._settings.max_in_row else set()

    def _reason(self, place: int, near: np.ndarray, before: Sequence[int]) -> Reason:
        closeness = replace(self._closeness, values=near)
        (reason,) = reasons_of(self._export, self._rows, [closeness, *self._fixed], np.array([place]))
        if reason.kind not in ("near", "close_in_sound") or not before:
            return reason
        last = before[-1]
        is_nearer = self._vectors[place] @ self._vectors[last] > self._vectors[place] @ self._start
        return Reason(kind="after", because=int(self._rows[last])) if is_nearer else reason


def _pieces(export: Export, seeds: Int[np.ndarray, " seeds"]) -> Int[np.ndarray, " pieces"]:
    """Returns the seeds that can be played, and for artists among the seeds their most played pieces lately."""
    is_playable = export.catalogue.of_kinds(schema.PLAYABLE_KINDS)
    found = [seeds[is_playable[seeds]]]
    artists = export.artist_rows
    for seed in seeds[~is_playable[seeds]].tolist():
        theirs = np.searchsorted(artists.offsets, np.flatnonzero(artists.values == seed), side="right") - 1
        theirs = theirs[is_playable[theirs]]
        most = np.argsort(-export.facts.recent_positives[theirs], kind="stable")[:PIECES_OF_ARTIST]
        found.append(theirs[most])
    return np.concatenate(found)


def _hearing(
    listener: Listener, rows: Int[np.ndarray, " candidates"], pieces: Int[np.ndarray, " pieces"], weight: int | float
) -> Part:
    """Returns how much nearer the listener is to each candidate after playing some pieces, times `weight`."""
    values = np.zeros(len(rows))
    if weight and len(pieces):
        moved = vector_after(listener, pieces) - listener.vector
        values = weight * (listener.export.vectors[rows] @ moved).astype(np.float64)
    return Part(values=values, kinds=np.full(len(rows), ""), because=np.full(len(rows), -1, np.int64))


def _moved(here: np.ndarray, to: np.ndarray, drift: int | float) -> np.ndarray:
    """Returns the position after a step towards a piece, on the sphere."""
    moved = (1 - drift) * here + drift * to
    length = np.linalg.norm(moved)
    return moved / length if length > 0 else here


def _by(artists: Ragged, some: set[int]) -> Bool[np.ndarray, " candidates"]:
    """Returns which candidates are by any of some artists."""
    if not some:
        return np.zeros(len(artists), bool)
    is_theirs = np.isin(artists.values, list(some))
    return np.bincount(artists.list_of_value[is_theirs], minlength=len(artists)) > 0
