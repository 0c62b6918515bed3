"""Validation during training: all ranks encode the validation period's vectors, the first one computes metrics."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from towers.batch import HistoryBatch
from towers.errors import UserError
from towers.features.sounds import Records
from towers.training.embed import embed_contents, embed_users, refresh_audio
from towers.training.processes import Processes
from towers.training.step import Learner

Judge = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""Function from user vectors `[validation listeners, dim]` and content vectors `[contents, dim]` to metrics by name."""


class Validation:
    """Ranks the whole catalogue for the validation listeners.

    Args:
        num_users: number of validation listeners.
        judge: computes metrics from vectors; null where the validation period is trained on, so that no metrics exist.
        records: input of the audio encoder; null without sound.
    """

    def __init__(self, num_users: int, judge: Judge | None, records: Records | None):
        self._num_users = num_users
        self._judge = judge
        self._records = records
        self._contents: Tensor | None = None
        self._users: list[np.ndarray] = []

    def refresh(self, learner: Learner, processes: Processes) -> dict[str, float]:
        """Encodes every sound anew into the table; returns how far they had drifted, by name, empty without sound."""
        if self._records is None:
            return {}
        return refresh_audio(learner.two_tower, learner.table, self._records, processes).figures()

    def begin(self, learner: Learner) -> None:
        """Encodes the contents, with the audio vectors of the table."""
        self._users = []
        self._contents = None if self._judge is None else embed_contents(learner.two_tower, learner.table)

    def add(self, learner: Learner, batch: HistoryBatch) -> None:
        """Encodes a batch of listeners of this rank's share."""
        if self._contents is not None:
            self._users.append(embed_users(learner.two_tower, [batch], self._contents))

    def metrics(self, processes: Processes, is_trial: bool) -> dict[str, float]:
        """Returns metrics by name, the same on all ranks; empty where there is no judge.

        Args:
            processes: processes that have encoded the listeners.
            is_trial: whether only the code path is tried: vectors of missing listeners are zeros then.

        Raises:
            UserError: some listeners were not encoded.
        """
        contents, self._contents = self._contents, None
        if self._judge is None or contents is None:
            return {}
        parts = processes.all_of(np.concatenate(self._users) if self._users else None)
        users = np.concatenate([part for part in parts if isinstance(part, np.ndarray)])
        if len(users) < self._num_users:
            if not is_trial:
                raise UserError(
                    f"limit_val_batches: a validation needs all its {self._num_users} listeners, not "
                    f"{len(users)}; leave it at 1.0"
                )
            users = np.concatenate([users, np.zeros((self._num_users - len(users), users.shape[1]), np.float32)])
        judged = self._judge(users, contents.float().cpu().numpy()) if processes.is_first else None
        found = processes.from_first(judged)
        assert isinstance(found, dict)
        return {f"validation/{name}": value for name, value in found.items()}
