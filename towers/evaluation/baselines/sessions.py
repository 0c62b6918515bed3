"""Baseline of contents that are heard in the same sessions."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.contract.durations import MINUTE_US
from towers.evaluation.baselines.heard import cosine_neighbours, heard_by_anybody, heard_matrix, unknown_last
from towers.evaluation.baselines.shared import Shared
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


class SessionCooccurrence:
    """Contents heard in the same sessions as the listener's latest contents.

    It is `ItemKNN` with sessions in place of listeners; a content's score is the sum of its cosines with the contents
    of the listener's latest events, each content counted once.

    Args:
        task: listeners, candidates and targets; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, in time order, repeats included.
        times_us: time of each value of `histories`, in microseconds; null if the data has no timestamps.
        shared: intermediate results shared between fits on the same data; null: none.
        gap_minutes: pause, above 0, after which a new session begins.
        window: number of events in a session, at least 1, if the data has no timestamps.
        recent: number of latest events whose contents are summed over, at least 1.
        neighbours: number of neighbours of a content, at least 1; other contents count 0.

    Raises:
        ValueError: a number is out of range.
    """

    name = "sessions"

    def __init__(
        self,
        task: EvaluationTask,
        histories: Ragged,
        times_us: Int[np.ndarray, " events"] | None,
        shared: Shared | None = None,
        *,
        gap_minutes: float = 30.0,
        window: int = 10,
        recent: int = 10,
        neighbours: int = 200,
    ):
        if not gap_minutes > 0 or min(window, recent, neighbours) < 1:
            raise ValueError(
                f"gap_minutes must be above 0, window, recent and neighbours at least 1, got {gap_minutes}, {window}, "
                f"{recent} and {neighbours}"
            )
        self._recent = _last(task.histories, recent)
        self._num_contents = task.num_contents
        self._is_known = heard_by_anybody(histories, task.num_contents)

        def found(most: int) -> sparse.csr_array:
            if times_us is None:
                sessions = _in_windows(histories, window)
            else:
                sessions = _in_sessions(histories, times_us, gap_minutes * MINUTE_US)
            return cosine_neighbours(heard_matrix(sessions, task.num_contents), task.num_contents, most)

        key = ("sessions", window if times_us is None else gap_minutes)
        self._similarities = (shared or Shared()).nearest(key, found, neighbours)

    def scores(self, positions: Int[np.ndarray, " users"]) -> Float[np.ndarray, "users contents"]:
        """Returns float32 scores of 0 or more: 0 for a listener without a history; -1 for unheard contents."""
        return unknown_last(self.exceptions(positions).toarray(), self._is_known)

    @property
    def base(self) -> Float[np.ndarray, " contents"]:
        """Scores of contents that are no neighbours of recent contents: 0, or -1 if no listener heard them."""
        return self._is_known.astype(np.float32) - 1

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """Returns the scores of the neighbours of recently heard contents."""
        recent = heard_matrix(self._recent.take(positions), self._num_contents)
        return sparse.csr_array(recent @ self._similarities)


def _in_sessions(histories: Ragged, times_us: Int[np.ndarray, " events"], gap_us: float) -> Ragged:
    """Splits histories into sessions: a new one starts with each listener and after each pause longer than the gap."""
    starts = np.diff(histories.list_of_value, prepend=-1) != 0
    starts |= np.diff(times_us, prepend=0) > gap_us
    return _from_starts(histories, starts)


def _in_windows(histories: Ragged, window: int) -> Ragged:
    """Splits histories into lists of `window` events, counted from a listener's first event."""
    place = np.arange(len(histories.values)) - histories.offsets[histories.list_of_value]
    return _from_starts(histories, place % window == 0)


def _from_starts(histories: Ragged, starts: np.ndarray) -> Ragged:
    return Ragged(np.append(np.flatnonzero(starts), len(starts)).astype(np.int64), histories.values)


def _last(histories: Ragged, count: int) -> Ragged:
    """Returns the last `count` events of every list."""
    from_end = histories.offsets[1:][histories.list_of_value] - np.arange(len(histories.values))
    return histories.where(from_end <= count)
