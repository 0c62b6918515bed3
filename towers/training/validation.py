"""Vectors of the validation period, encoded by all ranks, judged by the first."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from towers.batch import HistoryBatch
from towers.training.embed import embed_contents, embed_users, refresh_audio
from towers.training.ranks import Ranks
from towers.training.step import Learner

Judge = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""User vectors `[validation listeners, dim]` and content vectors `[contents, dim]` to metrics by name."""


@runtime_checkable  # for the tests, which check annotations at run time
class NumberedBatches(Protocol):
    """Batches by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> HistoryBatch: ...


class Validation:
    """Ranks the whole catalogue for the validation listeners.

    Args:
        histories: of the validation listeners; a sequence, so that each rank encodes its share.
        judge: turns vectors into metrics; null where validation is trained on, so that nothing is left to judge by.
        records: spectrograms of the store, or null without sound.
    """

    def __init__(
        self,
        histories: NumberedBatches,
        judge: Judge | None,
        records: Float[np.ndarray, "sounds n_mels frames"] | None,
    ):
        self._histories = histories
        self._judge = judge
        self._records = records

    def refresh(self, learner: Learner, ranks: Ranks) -> dict[str, float]:
        """Encodes every sound anew into the table; gives how far it had drifted, by name, empty without sound."""
        if self._records is None:
            return {}
        return refresh_audio(learner.two_tower, learner.table, self._records, ranks).figures()

    def metrics(self, learner: Learner, ranks: Ranks) -> dict[str, float]:
        """By name, the same on all ranks, after a refresh of all sounds."""
        staleness = self.refresh(learner, ranks)
        return {**self.judged(learner, ranks), **staleness}

    def judged(self, learner: Learner, ranks: Ranks) -> dict[str, float]:
        """The same with the sounds as they stand in the table; empty where nothing is left to judge by."""
        if self._judge is None:
            return {}
        contents = embed_contents(learner.two_tower, learner.table)
        share = ranks.share.of(len(self._histories))
        own = (self._histories[number] for number in range(share.start, share.stop))
        users = np.concatenate(
            [np.asarray(part) for part in ranks.all_of(embed_users(learner.two_tower, own, contents))]
        )
        judged = self._judge(users, contents.float().cpu().numpy()) if ranks.is_first else None
        found = ranks.from_first(judged)
        assert isinstance(found, dict)
        return {f"validation/{name}": value for name, value in found.items()}
