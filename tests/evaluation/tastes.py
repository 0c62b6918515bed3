"""Listeners of known taste, and their choices."""

import numpy as np

from tests.contracts.ranker import make_task
from towers.evaluation.harness import evaluate
from towers.evaluation.ranking.vectors import VectorRanker
from towers.evaluation.result import Evaluation

LISTENERS, CONTENTS, DIM = 400, 300, 16
TEMPERATURE = 0.15


class Tastes:
    """Listeners of known taste: their choices in three periods are drawn by a softmax over inner products."""

    def __init__(self, seed: int = 0):
        generator = np.random.default_rng(seed)
        self.contents = unit(generator.normal(size=(CONTENTS, DIM)))
        self.tastes = unit(generator.normal(size=(LISTENERS, DIM)))
        noise = generator.gumbel(size=(LISTENERS, CONTENTS))
        # The best of scores with Gumbel noise are draws without replacement (Vieira 2014).
        drawn = np.argsort(-(self.tastes @ self.contents.T / TEMPERATURE + noise), axis=1)[:, :18].copy()
        chosen = generator.permuted(drawn, axis=1).tolist()
        self.validation = make_task([row[:8] for row in chosen], [row[8:13] for row in chosen], CONTENTS)
        self.test = make_task([row[:13] for row in chosen], [row[13:] for row in chosen], CONTENTS)

    def evaluated(self, vectors: np.ndarray) -> tuple[Evaluation, Evaluation]:
        """Evaluates vectors of listeners on validation and test."""
        return self._evaluated(self.validation, vectors), self._evaluated(self.test, vectors)

    def _evaluated(self, task, vectors) -> Evaluation:
        return evaluate(task, VectorRanker(task, "model", vectors, self.contents), filter_seen=True, ks=(20,))

    def ranked(self, vectors: np.ndarray) -> VectorRanker:
        """Ranks by vectors of listeners on test."""
        return VectorRanker(self.test, "shuffled", vectors, self.contents)

    def fitted_to_validation(self) -> np.ndarray:
        """Returns listener vectors by gradient ascent on the likelihood of the validation targets themselves."""
        wanted = np.zeros((LISTENERS, CONTENTS))
        wanted[self.validation.targets.list_of_value, self.validation.targets.values] = 1 / 5
        vectors = np.zeros((LISTENERS, DIM))
        for _ in range(200):
            logits = vectors @ self.contents.T
            guessed = np.exp(logits - logits.max(axis=1, keepdims=True))
            vectors += 2.0 * (wanted - guessed / guessed.sum(axis=1, keepdims=True)) @ self.contents
        return vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
