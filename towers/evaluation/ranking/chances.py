"""Ranks by the chance of a listen, what is familiar and what is new on one scale."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.acceptance import LISTEN_CHANCE
from towers.evaluation.listening import Listening
from towers.evaluation.task import EvaluationTask
from towers.retrieval.listen_chance import ListenChance


class ChanceScorer:
    """The logarithm of the odds of a listen, for each listener and content.

    Args:
        task: what is ranked for whom.
        listening: of the store, up to the period that is judged.
        users: vectors of the task's listeners.
        contents: vectors by row, of the same space.
        models: that were fitted without what they judge.
        model_of: `[users]`, which of `models` judges each listener of the task.
    """

    name = LISTEN_CHANCE

    def __init__(
        self,
        task: EvaluationTask,
        listening: Listening,
        users: Float[np.ndarray, "users dim"],
        contents: Float[np.ndarray, "contents dim"],
        models: Sequence[ListenChance],
        model_of: Int[np.ndarray, " users"],
    ):
        self._task, self._listening = task, listening
        self._users, self._contents = users, contents
        self.models, self._model_of = models, model_of
        self._all = np.arange(len(contents))

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """See `Scorer`."""
        affinity = self._users[positions] @ self._contents.T
        scores = np.empty(affinity.shape)
        for place, position in enumerate(positions.tolist()):
            row = int(self._task.user_rows[position])
            features, is_chosen = self._listening.features(row, self._all, affinity[place])
            model = self.models[int(self._model_of[position])]
            scores[place] = model.log_odds(features, is_chosen)
        return scores
