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
    """Weights of similarity by listening and by vector.

    Args:
        vector_share: share of the similarity that comes from vectors, 0 to 1; all of it for an artist without
            listeners.
        popularity: power of an artist's latest plays by which the cosine of vectors is multiplied, as popular artists
            share more listeners with any other. 0: not used.

    Raises:
        UserError: `vector_share` is outside 0 to 1, or `popularity` is below 0.
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
    """Returns the artists most similar to one, best first; scores are comparable within one list only.

    They are neighbours by co-listening, where the export has these, blended with cosines of vectors.

    Args:
        export: export of the artists.
        artist: row of the artist.
        k: largest number of artists.
        settings: weights; null: the defaults.

    Raises:
        UserError: the row is not an artist's, or `k` is below 1.
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
    """Returns artists that may be similar, and their weights by co-listening, 0 where they are no neighbours."""
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
    """Returns, in each artist's row, how often all listeners chose something of theirs lately."""
    artists = export.artist_rows
    of_contents = np.repeat(export.facts.recent_positives, artists.lengths)
    return np.bincount(artists.values, of_contents, minlength=len(artists))


def _scaled(
    listened: Float[np.ndarray, " others"], by_vector: Float[np.ndarray, " others"]
) -> Float[np.ndarray, " others"]:
    """Scales weights by co-listening to those by vector: by the inverse of the least-squares fit of the former by the
    latter, over the neighbours. Without neighbours it returns those by vector."""
    is_near = listened > 0
    if not is_near.any():
        return by_vector
    together = float(listened @ by_vector)
    return listened * (float(by_vector[is_near] @ by_vector[is_near]) / together) if together > 0 else listened
