"""An evaluation task: listeners, candidates and targets as plain arrays, independent of their source."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from towers.features.ragged import Ragged


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTask:
    """A split of the data in time: histories before the cut, targets after it.

    `users` are the listeners with at least one target; `contents` are all rows of the store.

    Args:
        user_rows: `[users]`, row of each listener in the store.
        histories: content rows of each listener's positive events before the cut, in time order, repeats included.
        targets: unique content rows of each listener's positive events after the cut.
        is_candidate: `[contents]`, whether each may be ranked (listed tracks, episodes and audiobooks).
        is_cold: `[contents]`, whether each has no play before the end of the training period.
        train_counts: `[contents]`, number of positive events in the training period.
        kind_codes: `[contents]`, index into `schema.KINDS`; -1 for a row without a content.
        is_cold_user: `[users]`, whether each has no event in the training period.
    """

    user_rows: Int[np.ndarray, " users"]
    histories: Ragged
    targets: Ragged
    is_candidate: Bool[np.ndarray, " contents"]
    is_cold: Bool[np.ndarray, " contents"]
    train_counts: Int[np.ndarray, " contents"]
    kind_codes: Int[np.ndarray, " contents"]
    is_cold_user: Bool[np.ndarray, " users"]

    @property
    def ranked_targets(self) -> Ragged:
        """Targets that are candidates, each list sorted; other targets cannot be ranked."""
        return self.targets.where(self.is_candidate[self.targets.values]).unique()

    @property
    def num_contents(self) -> int:
        """Number of content rows in the store, candidates or not."""
        return len(self.is_candidate)
