"""Baselines by number of plays: of all listeners, of all listeners recently, of the listener."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.contract.durations import DAY_US
from towers.errors import DataLacks
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


class _ForEverybody:
    """Base class of scorers with the same scores for every listener."""

    def __init__(self, scores: Float[np.ndarray, " contents"]):
        self.base = scores

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns each content's dense rank by plays (recent plays first, if the class counts them)."""
        return np.broadcast_to(self.base, (len(positions), len(self.base)))

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """Returns a matrix without entries, as no listener has exceptions."""
        return sparse.csr_array((len(positions), len(self.base)), dtype=self.base.dtype)


class Popularity(_ForEverybody):
    """Most played contents in the training period, the same for all listeners."""

    name = "popularity"

    def __init__(self, task: EvaluationTask):
        super().__init__(_dense_rank(task.train_counts))


class Recency(_ForEverybody):
    """Most played contents in the last days before the period, the same for all listeners; ties by popularity.

    Args:
        task: listeners, candidates and targets.
        histories: content rows heard by each listener of the store before the cut, repeats included.
        times_us: time of each value of `histories`, in microseconds; null if the data has no timestamps.
        days: number of days, above 0, counted back from the last event of all listeners.

    Raises:
        DataLacks: the data has no timestamps.
        ValueError: `days` is not above 0.
    """

    name = "recency"

    def __init__(
        self,
        task: EvaluationTask,
        histories: Ragged,
        times_us: Int[np.ndarray, " events"] | None,
        *,
        days: float = 14.0,
    ):
        if times_us is None:
            raise DataLacks(f"the baseline {self.name!r} counts the last days, and this data has no timestamps")
        if not days > 0:
            raise ValueError(f"days must be above 0, got {days}")
        recent = histories.values[times_us >= times_us.max(initial=0) - days * DAY_US]
        super().__init__(_dense_rank(np.bincount(recent, minlength=task.num_contents), task.train_counts))


class Yesterday(Recency):
    """Most played contents in the last 24 hours before the period, the same for all listeners; ties by popularity.

    Args:
        task: listeners, candidates and targets.
        histories: see `Recency`.
        times_us: see `Recency`.

    Raises:
        DataLacks: the data has no timestamps.
    """

    name = "most played yesterday"

    def __init__(self, task: EvaluationTask, histories: Ragged, times_us: Int[np.ndarray, " events"] | None):
        super().__init__(task, histories, times_us, days=1.0)


class OwnMostPlayed:
    """Contents that the listener has played most often; ties and unheard contents by popularity."""

    name = "own most-played"

    def __init__(self, task: EvaluationTask):
        self._task = task
        popularity = _dense_rank(task.train_counts).astype(np.float64)
        self.base = popularity / (popularity.max(initial=0.0) + 1.0)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns the number of plays plus a popularity below 1, in float64, which represents both exactly."""
        histories = self._task.histories.take(positions)
        scores = np.tile(self.base, (len(positions), 1))
        np.add.at(scores, (histories.list_of_value, histories.values), 1.0)
        return scores

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """Returns the scores of the contents that the listeners have heard."""
        histories = self._task.histories.take(positions)
        ones, shape = np.ones(len(histories.values)), (len(positions), len(self.base))
        plays = sparse.csr_array((ones, histories.values, histories.offsets), shape=shape)
        plays.sum_duplicates()
        plays.data += self.base[plays.indices]
        return plays


def _dense_rank(*keys: Int[np.ndarray, " contents"]) -> Float[np.ndarray, " contents"]:
    """Returns dense ranks, 0 for the lowest, by `keys[0]`, then `keys[1]`, ...; float32 would round large counts."""
    _, ranks = np.unique(np.stack(keys), axis=1, return_inverse=True)
    return ranks.ravel().astype(np.float32)
