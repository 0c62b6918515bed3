"""Baseline that places a content at the mean of its artists' other contents."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from towers.errors import DataLacks
from towers.evaluation.baselines.factors import IALS
from towers.evaluation.baselines.heard import unknown_last
from towers.evaluation.baselines.shared import Shared
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


class ArtistMean:
    """Scores a content by the mean vector of its artists' other contents, so that unplayed contents are ranked too.

    The vectors are those of `IALS` with the same settings. A content that shares two artists with another counts
    twice in its mean. Contents whose artists have no other heard content score lowest.

    Args:
        task: listeners, candidates and targets; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        content_artists: codes of each content's artists, 0 or more; empty where unknown.
        shared: results shared with `IALS`, which has the same factors.
        factors: dimension of the vectors; see `IALS`.
        regularization: weight of the squared norms.
        alpha: weight of heard contents.
        iterations: iterations of the factorisation.
        seed: seed of the initial vectors.

    Raises:
        DataLacks: no content has a known artist.
        ValueError: a number is out of range.
    """

    name = "artist mean"

    def __init__(
        self,
        task: EvaluationTask,
        histories: Ragged,
        content_artists: Ragged,
        shared: Shared | None = None,
        *,
        factors: int = 64,
        regularization: float = 10.0,
        alpha: float = 4.0,
        iterations: int = 15,
        seed: int = 0,
    ):
        if not len(content_artists.values):
            raise DataLacks("the artist mean baseline needs artists, and the contents of this data have none")
        model = IALS(
            task,
            histories,
            shared,
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            seed=seed,
        )
        self.user_vectors = model.user_vectors
        self.content_vectors, self.is_known = _means_of_others(content_artists, model.content_vectors, model.is_known)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns float32 scores: 0 for a listener without a history, lowest for contents without a vector."""
        return unknown_last(self.user_vectors[positions] @ self.content_vectors.T, self.is_known)


def _means_of_others(
    content_artists: Ragged, vectors: Float[np.ndarray, "contents dim"], has_vector: Bool[np.ndarray, " contents"]
) -> tuple[Float[np.ndarray, "contents dim"], Bool[np.ndarray, " contents"]]:
    """Returns the mean over the artists' other contents with a vector, and whether there is one.

    It uses totals by artist, because the number of pairs of an artist's contents is quadratic.
    """
    artists = content_artists.unique()
    ones = np.ones(len(artists.values), dtype=np.float32)
    credits = sparse.csr_array((ones, artists.values, artists.offsets))
    counted = np.column_stack([np.where(has_vector[:, None], vectors, 0.0), has_vector]).astype(np.float64)
    totals = credits @ (credits.T @ counted) - artists.lengths[:, None] * counted
    sums, counts = totals[:, :-1], np.round(totals[:, -1:])
    means = np.where(counts > 0, sums / np.maximum(counts, 1), 0.0)
    return means.astype(np.float32), counts[:, 0] > 0
