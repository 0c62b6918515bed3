"""What is played most: by everybody, by everybody of late, by the listener."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.contract.durations import DAY_US
from towers.errors import DataLacks
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


class _ForEverybody:
    """Scorers derive from this where every listener gets the same scores."""

    def __init__(self, scores: Float[np.ndarray, " contents"]):
        self.base = scores

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns each content's rank by plays, the recent ones first where they count; equal numbers rank equal."""
        return np.broadcast_to(self.base, (len(positions), len(self.base)))

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """Returns a matrix without entries: nobody has scores of their own."""
        return sparse.csr_array((len(positions), len(self.base)), dtype=self.base.dtype)


class Popularity(_ForEverybody):
    """What is played most in the training period, for everybody alike."""

    name = "popularity"

    def __init__(self, task: EvaluationTask):
        super().__init__(_dense_rank(task.train_counts))


class Recency(_ForEverybody):
    """What is played most in the last days before the period, for everybody alike; ties by popularity.

    Args:
        task: what is to be ranked for whom.
        histories: content rows heard by each listener of the store before the cut, repeats included.
        times_us: when, for each value of `histories`, in microseconds; null where the data has no clock.
        days: above 0; counted back from the last event of all.

    Raises:
        DataLacks: the data has no clock.
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
            raise DataLacks(f"the baseline {self.name!r} counts the last days, and this data has no clock")
        if not days > 0:
            raise ValueError(f"days must be above 0, got {days}")
        recent = histories.values[times_us >= times_us.max(initial=0) - days * DAY_US]
        super().__init__(_dense_rank(np.bincount(recent, minlength=task.num_contents), task.train_counts))


class Yesterday(Recency):
    """What was played most in the last 24 hours before the period, for everybody alike; ties by popularity.

    Args:
        task: as of `Recency`, and so the following.
        histories: see there.
        times_us: see there.

    Raises:
        DataLacks: the data has no clock.
    """

    name = "most played yesterday"

    def __init__(self, task: EvaluationTask, histories: Ragged, times_us: Int[np.ndarray, " events"] | None):
        super().__init__(task, histories, times_us, days=1.0)


class OwnMostPlayed:
    """What the listener has heard most often; ties, and what was never heard, by popularity."""

    name = "own most-played"

    def __init__(self, task: EvaluationTask):
        self._task = task
        popularity = _dense_rank(task.train_counts).astype(np.float64)
        self.base = popularity / (popularity.max(initial=0.0) + 1.0)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """The number of plays, plus less than 1 for popularity; float64, which holds both exactly."""
        histories = self._task.histories.take(positions)
        scores = np.tile(self.base, (len(positions), 1))
        np.add.at(scores, (histories.list_of_value, histories.values), 1.0)
        return scores

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """What they have heard."""
        histories = self._task.histories.take(positions)
        ones, shape = np.ones(len(histories.values)), (len(positions), len(self.base))
        plays = sparse.csr_array((ones, histories.values, histories.offsets), shape=shape)
        plays.sum_duplicates()
        plays.data += self.base[plays.indices]
        return plays


def _dense_rank(*keys: Int[np.ndarray, " contents"]) -> Float[np.ndarray, " contents"]:
    """0 for the lowest `keys[0]`, then `keys[1]`, ...; float32 holds ranks exactly where it would round counts."""
    _, ranks = np.unique(np.stack(keys), axis=1, return_inverse=True)
    return ranks.ravel().astype(np.float32)
