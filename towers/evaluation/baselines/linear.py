"""Linear item-to-item baselines: weights between contents, summed over the listener's heard contents."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.linalg import lapack

from towers.errors import DataLacks
from towers.evaluation.baselines.heard import (
    cosine_neighbours,
    heard_by_anybody,
    heard_matrix,
    heard_together,
    unknown_last,
)
from towers.evaluation.baselines.shared import Shared
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


class ItemKNN:
    """Nearest neighbours of the listener's heard contents, by common listeners.

    A content's score is the sum of its cosines with the heard contents, where each heard content counts only for its
    nearest `neighbours` (Deshpande and Karypis 2004, "Item-based top-N recommendation algorithms"). No content is its
    own neighbour.

    Args:
        task: listeners, candidates and targets; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        shared: intermediate results shared between fits on the same data; null: none.
        neighbours: number of neighbours, at least 1; other contents count 0. Memory is `8 * contents * neighbours`
            bytes.

    Raises:
        ValueError: `neighbours` is below 1.
    """

    name = "item-kNN"

    def __init__(self, task: EvaluationTask, histories: Ragged, shared: Shared | None = None, *, neighbours: int = 200):
        if neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {neighbours}")
        self._task = task
        self._is_known = heard_by_anybody(histories, task.num_contents)
        self._similarities = (shared or Shared()).nearest(
            "listeners",
            lambda most: cosine_neighbours(heard_matrix(histories, task.num_contents), task.num_contents, most),
            neighbours,
        )

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns float32 scores of 0 or more: 0 for a listener without a history; -1 for contents that no
        listener heard."""
        return unknown_last(self.exceptions(positions).toarray(), self._is_known)

    @property
    def base(self) -> Float[np.ndarray, " contents"]:
        """Scores of contents that are no neighbours of heard contents: 0, or -1 if no listener heard them."""
        return self._is_known.astype(np.float32) - 1

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """Returns the scores of the neighbours of heard contents."""
        heard = heard_matrix(self._task.histories.take(positions), self._task.num_contents)
        return sparse.csr_array(heard @ self._similarities)


class EASE:
    """The linear autoencoder with a zero diagonal, in closed form (Steck 2019, "Embarrassingly shallow autoencoders").

    With the Gram matrix G of the binary histories and P = (G + l2 I)^-1, the weights are B = I - P / diag(P)
    (equation 8); a listener's scores are the sum of the rows of B of their heard contents.

    Args:
        task: listeners, candidates and targets; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        shared: intermediate results shared between fits on the same data; null: none.
        l2: regularisation, above 0, in co-listeners; higher for sparser data (Steck finds 200 to 1,000).
        max_contents: largest number of contents. The fit takes `8 * contents ** 2` bytes, half of it afterwards, and
            cubic time; the default takes 3.2 GB. Fits share the Gram matrix up to some 16,000 contents (`MAX_BYTES` of
            `shared.py`); above that each makes its own.

    Raises:
        DataLacks: the store has more than `max_contents` contents.
        ValueError: `l2` is not above 0, or too small for float32.
    """

    name = "EASE"

    def __init__(
        self,
        task: EvaluationTask,
        histories: Ragged,
        shared: Shared | None = None,
        *,
        l2: float = 200.0,
        max_contents: int = 20_000,
    ):
        if task.num_contents > max_contents:
            raise DataLacks(
                f"the EASE baseline inverts a contents x contents matrix: {task.num_contents:,} contents are "
                f"more than max_contents={max_contents:,}; leave it out, or raise max_contents if "
                f"{8 * task.num_contents**2 / 1e9:,.1f} GB of memory are to spare"
            )
        if not l2 > 0:
            raise ValueError(f"l2 must be above 0, got {l2}")
        self._task = task
        self._is_known = heard_by_anybody(histories, task.num_contents)
        gram = (shared or Shared()).once(
            "gram", lambda: _gram(heard_matrix(histories, task.num_contents), task.num_contents)
        )
        self._weights = _ease_weights(gram, l2)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns float32 scores of either sign: 0 for a listener without a history, lowest for unheard contents."""
        heard = heard_matrix(self._task.histories.take(positions), self._task.num_contents)
        return unknown_last(heard @ self._weights, self._is_known)


def _gram(heard: sparse.csr_array, num_contents: int) -> Float[np.ndarray, "contents contents"]:
    gram = np.empty((num_contents, num_contents), dtype=np.float32)
    for rows, counts in heard_together(heard, num_contents):
        gram[rows] = counts.toarray()
    return gram


def _ease_weights(gram: Float[np.ndarray, "contents contents"], l2: float) -> Float[np.ndarray, "contents contents"]:
    """Computes the weights by a Cholesky factorisation, half the work of a general inverse; `gram` is not changed.

    Raises:
        ValueError: `l2` is so small that the rounded matrix has no inverse.
    """
    inverse = np.array(gram, order="F")
    diagonal = np.diag_indices(len(gram))
    inverse[diagonal] += l2
    factorise, invert = lapack.get_lapack_funcs(("potrf", "potri"), (inverse,))
    factor, failed = factorise(inverse, lower=False, overwrite_a=True, clean=False)
    if not failed:
        inverse, failed = invert(factor, lower=False, overwrite_c=True)
    if failed:
        raise ValueError(f"l2={l2:g}: is too small beside so many co-listeners for float32; increase it")
    for row in range(len(gram)):  # row by row, so that no second matrix is needed
        inverse[row + 1 :, row] = inverse[row, row + 1 :]
    inverse = inverse.T  # symmetric, so this only makes it row-major; products would copy it otherwise
    inverse /= -np.diag(inverse)
    inverse[diagonal] = 0.0
    return inverse
