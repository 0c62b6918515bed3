"""Artists similar to an artist: by who plays both, and by their vectors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from towers.contract import schema
from towers.errors import UserError
from towers.policies.playlist import Playlist, Reason
from towers.policies.playlists.parts import candidate_rows
from towers.retrieval.export import Export


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarArtistsSettings:
    """How likeness by listening and by vector are joined.

    Args:
        vector_share: of the likeness, how much comes from vectors, 0 to 1; all of it for an artist whom nobody plays.
        popularity: power of an artist's plays lately by which the cosine of vectors is multiplied: who is played more
            shares more listeners with anybody. 0: not at all.

    Raises:
        UserError: `vector_share` outside 0 to 1, `popularity` below 0.
    """

    vector_share: int | float = 0.5
    popularity: int | float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.vector_share <= 1:
            raise UserError(f"vector_share={self.vector_share}: must be a share, 0 to 1")
        if not self.popularity >= 0:
            raise UserError(f"popularity={self.popularity}: must be 0 or more")


def similar_artists(
    export: Export, artist: int, *, k: int = 10, settings: SimilarArtistsSettings | None = None
) -> Playlist:
    """The artists most similar to one, best first; scores are comparable between the artists of one list alone.

    Their neighbours by co-listening where the export has these, blended with cosines of vectors.

    Args:
        export: whose artists they are.
        artist: row of the artist.
        k: at most so many.
        settings: null: the defaults.

    Raises:
        UserError: the row is no artist's, or `k` below 1.
    """
    settings = settings or SimilarArtistsSettings()
    kind = schema.KINDS[export.kinds[artist]]
    if kind != "artist":
        raise UserError(f"{export.content_ids[artist]} is of kind {kind}; give an artist")
    if k < 1:
        raise UserError(f"k={k}: must be at least 1")
    rows, listened = _others(export, artist)
    by_vector = np.maximum(export.vectors[rows] @ export.vectors[artist], 0).astype(np.float64)
    by_vector *= (1.0 + _plays(export)[rows]) ** settings.popularity
    scores = settings.vector_share * by_vector + (1 - settings.vector_share) * _scaled(listened, by_vector)
    best = np.argsort(-scores, kind="stable")[:k]
    kinds = np.where(listened[best] > 0, "listened_with", "near").tolist()
    remark = "" if len(best) == k else f"there are only {len(best)} other artists"
    reasons = tuple(Reason(kind=kind, because=artist) for kind in kinds)
    return Playlist(rows=rows[best], scores=scores[best], reasons=reasons, remark=remark)


def _others(export: Export, artist: int) -> tuple[Int[np.ndarray, " others"], Float[np.ndarray, " others"]]:
    """Artists that may be similar, and their weights by co-listening, 0 where they are no neighbours."""
    near = export.co_listening
    among = export.catalogue.of_kinds(("artist",)).copy()
    among[artist] = False
    neighbours = np.zeros(0, np.int64) if near is None else near.rows[artist].astype(np.int64)
    rows = candidate_rows(export, among, export.vectors[artist][None], neighbours)
    listened = np.zeros(len(rows))
    if near is not None:
        is_there = np.isin(neighbours, rows)
        listened[np.searchsorted(rows, neighbours[is_there])] = near.weights[artist][is_there]
    return rows, listened


def _plays(export: Export) -> Float[np.ndarray, " contents"]:
    """In an artist's row, how often everybody chose something of theirs lately."""
    artists = export.artist_rows
    of_contents = np.repeat(export.facts.recent_positives, artists.lengths)
    return np.bincount(artists.values, of_contents, minlength=len(artists))


def _scaled(
    listened: Float[np.ndarray, " others"], by_vector: Float[np.ndarray, " others"]
) -> Float[np.ndarray, " others"]:
    """Weights by co-listening on the scale of those by vector: the inverse of the least-squares fit of the first by the
    second, over the neighbours. All is by vector where there are none."""
    is_near = listened > 0
    if not is_near.any():
        return by_vector
    together = float(listened @ by_vector)
    return listened * (float(by_vector[is_near] @ by_vector[is_near]) / together) if together > 0 else listened
