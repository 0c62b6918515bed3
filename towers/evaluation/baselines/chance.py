"""Random baseline, the lower bound of all rankings."""

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.task import EvaluationTask


class Random:
    """Uniform random scores, which do not depend on the other listeners of a block.

    Args:
        task: listeners, candidates and targets.
        seed: seed, 0 or more; scores depend on it and on the listener's row.
    """

    name = "random"

    def __init__(self, task: EvaluationTask, *, seed: int = 0):
        self._task = task
        self._seed = seed

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns scores between 0 and 1."""
        scores = np.empty((len(positions), self._task.num_contents), dtype=np.float32)
        for row, user_row in zip(scores, self._task.user_rows[positions], strict=True):
            np.random.default_rng((self._seed, int(user_row))).random(dtype=np.float32, out=row)
        return scores
