"""Listeners and contents as vectors whose inner product is affinity, by the `implicit` library."""

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

    Minimises the squared error of 1 for what was heard, weighted by `alpha`, and of 0 for all else, weighted by 1. A
    listener of the task is the exact minimum given the contents' vectors and their history.

    Args:
        task: what is to be ranked for whom; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, repeats allowed.
        shared: what is made once for several fits on these facts; null: nothing.
        factors: dimensions of the vectors, at least 1.
        regularization: not negative; weight of the squared norms.
        alpha: above 0; weight of what was heard.
        iterations: at least 1; each solves for all listeners and all contents.
        seed: of the first vectors. The number of threads does not change the result.

    Raises:
        ValueError: a number outside its range.
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

        def model() -> Any:  # what implicit gives has no one type
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
        """About 0 to 1; 0 for a listener without a history, lowest for contents that nobody heard; float32."""
        return unknown_last(self.user_vectors[positions] @ self.content_vectors.T, self.is_known)


class BPR:
    """Matrix factorisation that ranks what was heard above what was not (Rendle et al. 2009, "BPR").

    Trained by stochastic gradient descent on one thread, for several would race and give other vectors every time.

    Args:
        task: what is to be ranked for whom.
        histories: content rows heard by each listener of the store before the cut, repeats allowed; those of the
            task are among them.
        shared: what is made once for several fits on these facts; null: nothing.
        factors: dimensions of the vectors, beside a bias of each content; at least 1.
        learning_rate: above 0.
        regularization: not negative; weight of the squared norms.
        iterations: at least 1; each draws as many pairs as there are contents heard.
        seed: of the first vectors and of the draws.

    Raises:
        ValueError: a number outside its range.
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
        """Of either sign, without a history the bias alone; lowest for contents that nobody heard; float32."""
        return unknown_last(self.user_vectors[positions] @ self.content_vectors.T, self.is_known)


def _confidences(histories: Ragged, num_contents: int) -> sparse.csr_matrix:
    """The old kind of sparse matrix: `implicit` takes no other."""
    return sparse.csr_matrix(heard_matrix(histories, num_contents))


def _one_thread() -> threadpool_limits:
    """BLAS on one thread meanwhile: `implicit` has threads of its own, and warns where the two would fight."""
    return threadpool_limits(1, "blas")
