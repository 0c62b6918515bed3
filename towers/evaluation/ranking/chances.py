"""Scoring by the chance of a listen, which puts familiar and new contents on one scale."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from towers.evaluation.acceptance import LISTEN_CHANCE
from towers.evaluation.listening import Listening
from towers.evaluation.task import EvaluationTask
from towers.retrieval.listen_chance import ListenChance


class ChanceScorer:
    """Scores contents by the log-odds of a listen.

    Args:
        task: listeners, candidates and targets.
        listening: listening of the store up to the evaluated period.
        users: vectors of the task's listeners.
        contents: content vectors by row, of the same space.
        models: models of the chance of a listen (cross-fitting: none was fitted on the listeners it scores).
        model_of: `[users]`, index into `models` of the model for each listener of the task.
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
