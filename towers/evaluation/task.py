"""What is to be ranked, for whom, and what counts as right: plain arrays, whatever they came from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from towers.features.ragged import Ragged


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTask:
    """One cut of the data in time: histories before it, what was played after it.

    `users` are the listeners with at least one target; `contents` are all rows of the store.

    Args:
        user_rows: `[users]`, the listener's row in the store.
        histories: per listener the content rows of the positive events before the cut, in time order,
            repeats included.
        targets: per listener the unique content rows of the positive events after the cut.
        is_candidate: `[contents]`, what may be ranked (tracks, episodes, audiobooks that are listed).
        is_cold: `[contents]`, no play before the end of the training period.
        train_counts: `[contents]`, positive events in the training period.
        kind_codes: `[contents]`, index into `schema.KINDS`, -1 where a row has no content.
        is_cold_user: `[users]`, no event in the training period.
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
        """The targets that are candidates, each list sorted; what is no candidate cannot be ranked."""
        return self.targets.where(self.is_candidate[self.targets.values]).unique()

    @property
    def num_contents(self) -> int:
        """Rows of the store, candidates or not."""
        return len(self.is_candidate)
