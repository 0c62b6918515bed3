"""Matrix factorisation baselines, by the `implicit` library."""

from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares  # codespell:ignore als
from implicit.bpr import BayesianPersonalizedRanking
from jaxtyping import Float, Int
from scipy import sparse
from threadpoolctl import threadpool_limits

from towers.evaluation.baselines.heard import heard_by_anybody, heard_matrix, unknown_last
from towers.evaluation.baselines.shared import Shared
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


class IALS:
    """Weighted matrix factorisation by alternating least squares (Hu, Koren and Volinsky 2008).

    It minimises the squared error to 1 for heard contents, weighted by `alpha`, and to 0 for all others, weighted by 1.
    The vector of a task's listener is the exact minimum given the contents' vectors and the listener's history.

    Args:
        task: listeners, candidates and targets; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        shared: intermediate results shared between fits on the same data; null: none.
        factors: dimension of the vectors, at least 1.
        regularization: weight of the squared norms, 0 or more.
        alpha: weight of heard contents, above 0.
        iterations: number of iterations, at least 1; each solves for all listeners and all contents.
        seed: seed of the initial vectors. The number of threads does not change the result.

    Raises:
        ValueError: a number is out of range.
    """

    name = "iALS"

    def __init__(
        self,
        task: EvaluationTask,
        histories: Ragged,
        shared: Shared | None = None,
        *,
        factors: int = 64,
        regularization: float = 10.0,
        alpha: float = 4.0,
        iterations: int = 15,
        seed: int = 0,
    ):
        if min(factors, iterations) < 1 or regularization < 0 or not alpha > 0:
            raise ValueError(
                f"factors and iterations must be at least 1, regularization at least 0 and alpha above 0, got "
                f"{factors}, {iterations}, {regularization} and {alpha}"
            )
        self.is_known = heard_by_anybody(histories, task.num_contents)
        shared = shared or Shared()
        heard = shared.once("confidences", lambda: _confidences(histories, task.num_contents), for_others=True)

        def model() -> Any:  # implicit returns objects of different types
            return AlternatingLeastSquares(
                factors=factors,
                regularization=regularization,
                alpha=alpha,
                iterations=iterations,
                use_gpu=False,
                random_state=seed,
            )

        def fitted() -> np.ndarray:
            fit = model()
            fit.fit(heard, show_progress=False)
            return np.asarray(fit.item_factors)

        key = ("ials", factors, regularization, alpha, iterations, seed)
        with _one_thread():
            self.content_vectors = shared.once(key, fitted, for_others=True)
            solver = model()
            solver.item_factors = self.content_vectors
            own = _confidences(task.histories, task.num_contents)
            self.user_vectors = np.asarray(solver.recalculate_user(np.arange(len(task.user_rows)), own))

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns float32 scores of about 0 to 1: 0 for a listener without a history, lowest for unheard contents."""
        return unknown_last(self.user_vectors[positions] @ self.content_vectors.T, self.is_known)


class BPR:
    """Matrix factorisation that ranks heard contents above unheard ones (Rendle et al. 2009, "BPR").

    It is trained by stochastic gradient descent on one thread, because several threads would race and not be
    reproducible.

    Args:
        task: listeners, candidates and targets.
        histories: content rows heard by each listener of the store before the cut, repeats allowed; the task's
            histories are among them.
        shared: intermediate results shared between fits on the same data; null: none.
        factors: dimension of the vectors, beside a bias of each content; at least 1.
        learning_rate: learning rate, above 0.
        regularization: weight of the squared norms, 0 or more.
        iterations: number of epochs, at least 1; each draws as many pairs as there are (listener, content) pairs.
        seed: seed of the initial vectors and of the draws.

    Raises:
        ValueError: a number is out of range.
    """

    name = "BPR"

    def __init__(
        self,
        task: EvaluationTask,
        histories: Ragged,
        shared: Shared | None = None,
        *,
        factors: int = 32,
        learning_rate: float = 0.05,
        regularization: float = 0.01,
        iterations: int = 50,
        seed: int = 0,
    ):
        if min(factors, iterations) < 1 or regularization < 0 or not learning_rate > 0:
            raise ValueError(
                f"factors and iterations must be at least 1, regularization at least 0 and learning_rate above 0, got "
                f"{factors}, {iterations}, {regularization} and {learning_rate}"
            )
        self.is_known = heard_by_anybody(histories, task.num_contents)

        def fitted() -> tuple[np.ndarray, np.ndarray]:
            model = BayesianPersonalizedRanking(
                factors=factors,
                learning_rate=learning_rate,
                regularization=regularization,
                iterations=iterations,
                use_gpu=False,
                num_threads=1,
                random_state=seed,
            )
            with _one_thread():
                model.fit(_confidences(histories, task.num_contents), show_progress=False)
            return np.asarray(model.user_factors), np.asarray(model.item_factors)

        key = ("bpr", factors, learning_rate, regularization, iterations, seed)
        user_vectors, self.content_vectors = (shared or Shared()).once(key, fitted)
        self.user_vectors = user_vectors[task.user_rows]

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns float32 scores of either sign: only the bias without a history, lowest for unheard contents."""
        return unknown_last(self.user_vectors[positions] @ self.content_vectors.T, self.is_known)


def _confidences(histories: Ragged, num_contents: int) -> sparse.csr_matrix:
    """Returns the heard contents as the older type of sparse matrix that `implicit` requires."""
    return sparse.csr_matrix(heard_matrix(histories, num_contents))


def _one_thread() -> threadpool_limits:
    """Limits BLAS to one thread, because `implicit` has its own threads and warns if both compete."""
    return threadpool_limits(1, "blas")
