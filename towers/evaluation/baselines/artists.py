"""A content stands where its artists' other contents stand."""

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
    """The mean of the vectors of an artist's other contents, so that what nobody has played has a place too.

    The vectors are those of `IALS` with the same settings. A content that shares two artists with another counts
    twice in its mean. Contents whose artists have no other content that was heard score lowest.

    Args:
        task: what is to be ranked for whom; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        content_artists: per content the codes of its artists, 0 or more; empty where they are not known.
        shared: see `IALS`: the same factors serve both.
        factors: see `IALS`, and so the following.
        regularization: weight of the squared norms.
        alpha: weight of what was heard.
        iterations: of the factorisation.
        seed: of the first vectors.

    Raises:
        DataLacks: no artist is known of any content.
        ValueError: a number outside its range.
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
        """0 for a listener without a history, lowest for contents without a place; float32."""
        return unknown_last(self.user_vectors[positions] @ self.content_vectors.T, self.is_known)


def _means_of_others(
    content_artists: Ragged, vectors: Float[np.ndarray, "contents dim"], has_vector: Bool[np.ndarray, " contents"]
) -> tuple[Float[np.ndarray, "contents dim"], Bool[np.ndarray, " contents"]]:
    """The mean over the artists' other contents with a vector, and whether there is one.

    By totals of the artists, for pairs of contents of one artist grow with the square of their number.
    """
    artists = content_artists.unique()
    ones = np.ones(len(artists.values), dtype=np.float32)
    credits = sparse.csr_array((ones, artists.values, artists.offsets))
    counted = np.column_stack([np.where(has_vector[:, None], vectors, 0.0), has_vector]).astype(np.float64)
    totals = credits @ (credits.T @ counted) - artists.lengths[:, None] * counted
    sums, counts = totals[:, :-1], np.round(totals[:, -1:])
    means = np.where(counts > 0, sums / np.maximum(counts, 1), 0.0)
    return means.astype(np.float32), counts[:, 0] > 0
