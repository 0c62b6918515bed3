"""The floor: chance alone."""

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.task import EvaluationTask


class Random:
    """Uniform scores, the same for a listener whoever else is scored: the floor.

    Args:
        task: what is to be ranked for whom.
        seed: not negative; together with the listener's row it decides the scores.
    """

    name = "random"

    def __init__(self, task: EvaluationTask, *, seed: int = 0):
        self._task = task
        self._seed = seed

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Between 0 and 1."""
        scores = np.empty((len(positions), self._task.num_contents), dtype=np.float32)
        for row, user_row in zip(scores, self._task.user_rows[positions], strict=True):
            np.random.default_rng((self._seed, int(user_row))).random(dtype=np.float32, out=row)
        return scores
