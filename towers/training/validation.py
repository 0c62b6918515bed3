"""Vectors of the validation period, encoded by all ranks, judged by the first."""

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
"""User vectors `[validation listeners, dim]` and content vectors `[contents, dim]` to metrics by name."""


class Validation:
    """Ranks the whole catalogue for the validation listeners.

    Args:
        num_users: the validation listeners.
        judge: turns vectors into metrics; null where validation is trained on, so that nothing is left to judge by.
        records: what the audio encoder reads; null without sound.
    """

    def __init__(self, num_users: int, judge: Judge | None, records: Records | None):
        self._num_users = num_users
        self._judge = judge
        self._records = records
        self._contents: Tensor | None = None
        self._users: list[np.ndarray] = []

    def refresh(self, learner: Learner, processes: Processes) -> dict[str, float]:
        """Encodes every sound anew into the table; gives how far it had drifted, by name, empty without sound."""
        if self._records is None:
            return {}
        return refresh_audio(learner.two_tower, learner.table, self._records, processes).figures()

    def begin(self, learner: Learner) -> None:
        """Encodes the contents, with the sounds as they stand in the table."""
        self._users = []
        self._contents = None if self._judge is None else embed_contents(learner.two_tower, learner.table)

    def add(self, learner: Learner, batch: HistoryBatch) -> None:
        """Encodes listeners of this rank's share."""
        if self._contents is not None:
            self._users.append(embed_users(learner.two_tower, [batch], self._contents))

    def metrics(self, processes: Processes, is_trial: bool) -> dict[str, float]:
        """By name, the same on all ranks; empty where nothing is left to judge by.

        Args:
            processes: who has encoded the listeners.
            is_trial: whether only the way through counts: listeners that are missing are then zeros.

        Raises:
            UserError: not all listeners were encoded.
        """
        contents, self._contents = self._contents, None
        if self._judge is None or contents is None:
            return {}
        parts = processes.all_of(np.concatenate(self._users) if self._users else None)
        users = np.concatenate([part for part in parts if isinstance(part, np.ndarray)])
        if len(users) < self._num_users:
            if not is_trial:
                raise UserError(
                    f"limit_val_batches: a validation ranks for all its {self._num_users} listeners, not for "
                    f"{len(users)}; leave it at 1.0"
                )
            users = np.concatenate([users, np.zeros((self._num_users - len(users), users.shape[1]), np.float32)])
        judged = self._judge(users, contents.float().cpu().numpy()) if processes.is_first else None
        found = processes.from_first(judged)
        assert isinstance(found, dict)
        return {f"validation/{name}": value for name, value in found.items()}
