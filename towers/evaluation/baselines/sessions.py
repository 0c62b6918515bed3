"""What is heard in the same session."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from towers.contract.durations import MINUTE_US
from towers.evaluation.baselines.heard import cosine_neighbours, heard_by_anybody, heard_matrix, unknown_last
from towers.evaluation.baselines.shared import Shared
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged


class SessionCooccurrence:
    """Contents heard in the same sessions as what the listener heard last.

    `ItemKNN` with sessions in the place of listeners; a content's score is the sum of its cosines with the contents of
    the listener's last events, of which one that was heard several times counts once.

    Args:
        task: what is to be ranked for whom; its histories are scored.
        histories: content rows heard by each listener of the store before the cut, in time order, repeats included.
        times_us: when, for each value of `histories`, in microseconds; null where the data has no clock.
        shared: what is made once for several fits on these facts; null: nothing.
        gap_minutes: above 0; a session ends where the listener heard nothing for longer.
        window: at least 1; events of a session where the data has no clock.
        recent: at least 1; the listener's last events whose contents are summed over.
        neighbours: at least 1; what is not among the nearest of a content counts 0.

    Raises:
        ValueError: a number outside its range.
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
        """Not negative; 0 for a listener without a history, -1 for a content that nobody heard; float32."""
        return unknown_last(self.exceptions(positions).toarray(), self._is_known)

    @property
    def base(self) -> Float[np.ndarray, " contents"]:
        """Returns the scores of what is no neighbour of what was heard of late: 0, or -1 if nobody ever heard it."""
        return self._is_known.astype(np.float32) - 1

    def exceptions(self, positions: Int[np.ndarray, " users"]) -> sparse.csr_array:
        """Returns the scores of the neighbours of what they have heard of late."""
        recent = heard_matrix(self._recent.take(positions), self._num_contents)
        return sparse.csr_array(recent @ self._similarities)


def _in_sessions(histories: Ragged, times_us: Int[np.ndarray, " events"], gap_us: float) -> Ragged:
    """One list a session: a new one where the listener changes, or the time between two events passes the gap."""
    starts = np.diff(histories.list_of_value, prepend=-1) != 0
    starts |= np.diff(times_us, prepend=0) > gap_us
    return _from_starts(histories, starts)


def _in_windows(histories: Ragged, window: int) -> Ragged:
    """One list for each `window` events of a listener, counted from the first."""
    place = np.arange(len(histories.values)) - histories.offsets[histories.list_of_value]
    return _from_starts(histories, place % window == 0)


def _from_starts(histories: Ragged, starts: np.ndarray) -> Ragged:
    return Ragged(np.append(np.flatnonzero(starts), len(starts)).astype(np.int64), histories.values)


def _last(histories: Ragged, count: int) -> Ragged:
    """The last events of every list."""
    from_end = histories.offsets[1:][histories.list_of_value] - np.arange(len(histories.values))
    return histories.where(from_end <= count)
