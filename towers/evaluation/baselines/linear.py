"""Weights between contents, learned from who heard what, and summed over what the listener heard."""

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
    """Contents heard by the same listeners as what this listener heard.

    A content's score is the sum, over the contents heard, of their cosine with it, where only its nearest
    `neighbours` count for each content heard (Deshpande and Karypis 2004, "Item-based top-N recommendation
    algorithms"). No content is its own neighbour.

    Args:
        task: what is to be ranked for whom; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        shared: what is made once for several fits on these facts; null: nothing.
        neighbours: at least 1; what is not among the nearest counts 0. Memory is
            `8 * contents * neighbours` bytes.

    Raises:
        ValueError: `neighbours` below 1.
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
        """Not negative; 0 for a listener without a history, -1 for a content that nobody heard; float32."""
        return unknown_last(self.exceptions(positions).toarray(), self._is_known)

    @property
    def base(self) -> Float[np.ndarray, " contents"]:
        """Returns the scores of what is no neighbour of what the listener heard: 0, or -1 if nobody ever heard it."""
        return self._is_known.astype(np.float32) - 1

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """Returns the scores of the neighbours of what they have heard."""
        heard = heard_matrix(self._task.histories.take(positions), self._task.num_contents)
        return sparse.csr_array(heard @ self._similarities)


class EASE:
    """The linear autoencoder with a zero diagonal, in closed form (Steck 2019, "Embarrassingly shallow autoencoders").

    With the gram matrix G of the binary histories and P = (G + l2 I)^-1, the weights are B = I - P / diag(P)
    (equation 8); a listener's scores are the sum of the rows of B of what they heard.

    Args:
        task: what is to be ranked for whom; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        shared: what is made once for several fits on these facts; null: nothing.
        l2: above 0, in co-listeners; more for sparser data (Steck finds 200 to 1,000).
        max_contents: memory is `8 * contents ** 2` bytes during the fit and half of it afterwards, time grows with the
            cube; the default takes 3.2 GB. Fits share the Gram matrix up to some 16,000 contents (`MAX_BYTES` of
            `shared.py`) and make their own above.

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
        """Of either sign; 0 for a listener without a history, lowest for contents that nobody heard; float32."""
        heard = heard_matrix(self._task.histories.take(positions), self._task.num_contents)
        return unknown_last(heard @ self._weights, self._is_known)


def _gram(heard: sparse.csr_array, num_contents: int) -> Float[np.ndarray, "contents contents"]:
    gram = np.empty((num_contents, num_contents), dtype=np.float32)
    for rows, counts in heard_together(heard, num_contents):
        gram[rows] = counts.toarray()
    return gram


def _ease_weights(gram: Float[np.ndarray, "contents contents"], l2: float) -> Float[np.ndarray, "contents contents"]:
    """By Cholesky's factors, half the work of an inverse that knows nothing of symmetry; `gram` stays as it is.

    Raises:
        ValueError: `l2` is so small that rounding leaves a matrix without an inverse.
    """
    inverse = np.array(gram, order="F")
    diagonal = np.diag_indices(len(gram))
    inverse[diagonal] += l2
    factorise, invert = lapack.get_lapack_funcs(("potrf", "potri"), (inverse,))
    factor, failed = factorise(inverse, lower=False, overwrite_a=True, clean=False)
    if not failed:
        inverse, failed = invert(factor, lower=False, overwrite_c=True)
    if failed:
        raise ValueError(f"l2={l2:g}: is lost in the rounding of float32 beside so many co-listeners; raise it")
    for row in range(len(gram)):  # a row at a time, so that no second matrix is held
        inverse[row + 1 :, row] = inverse[row, row + 1 :]
    inverse = inverse.T  # the same, stored by rows, as products of it want: else each would copy it
    inverse /= -np.diag(inverse)
    inverse[diagonal] = 0.0
    return inverse
