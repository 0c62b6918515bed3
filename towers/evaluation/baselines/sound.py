"""Baseline of fixed audio statistics, without any learning."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.errors import DataLacks
from towers.evaluation.baselines.heard import unknown_last
from towers.evaluation.task import EvaluationTask

_FLAT = 1e-6
"""Standard deviation over contents below which a statistic is ignored."""


class AudioStatistics:
    """Contents that sound like the listener's heard contents.

    Statistics are standardised over the contents with sound; a listener is the mean over their plays, and the score is
    the cosine.

    Args:
        task: listeners, candidates and targets; its histories are scored.
        sounds: `[contents, statistics]`, NaN in the rows of contents without sound; null if the data has no sound.

    Raises:
        DataLacks: no content has sound.
    """

    name = "audio statistics"

    def __init__(self, task: EvaluationTask, sounds: Float[np.ndarray, "contents statistics"] | None):
        has_sound = np.zeros(task.num_contents, dtype=bool) if sounds is None else np.isfinite(sounds).all(axis=1)
        if sounds is None or not has_sound.any():
            raise DataLacks("the audio statistics baseline needs sound, and no content of this data has any")
        self.content_vectors = np.zeros(sounds.shape, dtype=np.float32)
        self.content_vectors[has_sound] = _standardised(sounds[has_sound].astype(np.float64))
        self.is_known = np.asarray(has_sound)
        plays = sparse.csr_array(
            (
                np.ones(len(task.histories.values), dtype=np.float32),
                task.histories.values,
                task.histories.offsets,
            ),
            shape=(len(task.histories), task.num_contents),
        )
        # The cosine is the same for the sum and the mean of the plays.
        self.user_vectors = _unit(plays @ self.content_vectors)
        self.content_vectors = _unit(self.content_vectors)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns float32 scores of -1 to 1: 0 for a listener without sounds, lowest for contents without sound."""
        return unknown_last(self.user_vectors[positions] @ self.content_vectors.T, self.is_known)


def _standardised(values: Float[np.ndarray, "contents statistics"]) -> Float[np.ndarray, "contents statistics"]:
    deviations = values.std(axis=0)
    return np.where(deviations > _FLAT, (values - values.mean(axis=0)) / np.maximum(deviations, _FLAT), 0.0)


def _unit(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Scales vectors to unit length; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
