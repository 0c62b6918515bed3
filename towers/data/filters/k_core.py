"""The k-core filter: keeps listeners and contents that training knows well."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from towers.data.blocks import blocks
from towers.data.histories import Histories
from towers.errors import UserError


class KCore:
    """Leaves out listeners and contents with few positive events in training, until none has too few any more.

    Who is inside follows from training alone, so that no later event decides what is trained on; events of the others
    are left out of every period. Events without a content stay with their listener.

    Args:
        min_positives_per_listener: the fewest positive events that a listener has in training with contents that stay.
        min_positives_per_content: the fewest positive events that a content has in training of listeners who stay.

    Raises:
        UserError: a number below 1.
    """

    def __init__(self, min_positives_per_listener: int = 5, min_positives_per_content: int = 5):
        for name, least in (
            ("min_positives_per_listener", min_positives_per_listener),
            ("min_positives_per_content", min_positives_per_content),
        ):
            if least < 1:
                raise UserError(f"data.filters.k_core.{name}={least}: must be at least 1")
        self._per_listener, self._per_content = min_positives_per_listener, min_positives_per_content

    def keep(self, histories: Histories, num_contents: int) -> Bool[np.ndarray, " events"]:
        """See `Filter`; takes 8 bytes of memory for each positive event of training."""
        stays, is_known = self._core(*_training_pairs(histories), histories.num_users, num_contents)
        is_known = np.append(is_known, True)  # row -1: no content
        kept = np.empty(len(histories.content_row), bool)
        for block in blocks(histories.offsets):
            rows = np.asarray(histories.content_row[block.events])
            kept[block.events] = np.repeat(stays[block.users], block.lengths) & is_known[rows]
        return kept

    def settings(self) -> dict[str, Any]:
        """See `Filter`."""
        return {"min_positives_per_listener": self._per_listener, "min_positives_per_content": self._per_content}

    def _core(
        self, users: np.ndarray, rows: np.ndarray, num_users: int, num_contents: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds which listeners (`[users]`, bool) and contents (`[contents]`, bool) stay, from pairs of both."""
        while True:
            stays = np.bincount(users, minlength=num_users) >= self._per_listener
            is_known = np.bincount(rows, minlength=num_contents) >= self._per_content
            kept = stays[users] & is_known[rows]
            if kept.all():
                return stays, is_known
            users, rows = users[kept], rows[kept]


def _training_pairs(histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the listener and of the content of every positive event of training, int32."""
    users, rows = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for block in blocks(histories.offsets):
        user = block.user_of_event
        is_in = np.arange(block.events.start, block.events.stop) < np.asarray(histories.train_end[block.users])[user]
        is_in &= np.asarray(histories.is_positive[block.events])
        users.append((user[is_in] + block.users.start).astype(np.int32))
        rows.append(np.asarray(histories.content_row[block.events])[is_in])
    return np.concatenate(users), np.concatenate(rows)
