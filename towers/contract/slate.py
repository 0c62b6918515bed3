"""The answer of a policy: cards in their order, and the probability with which each was chosen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

NOTHING = -1
"""Row of a slot that stays empty, as there were too few cards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slate:
    """Cards shown together on one shelf, best first, to one listener or to many.

    Args:
        content_rows: `[listeners, slots]`, rows of the store, the export or the world; `NOTHING` in slots behind the
            last card.
        propensities: `[listeners, slots]`, the chance with which the policy chose each card for its slot, given the
            cards in the slots before; in (0, 1], and 1 in an empty slot. Their product is the chance of the whole
            slate.
        shelf: the row of the page, or the list, that it is shown on.

    Raises:
        ValueError: another number of propensities than of cards, a card that is shown twice to a listener, an empty
            slot before a card, or a propensity outside (0, 1].
    """

    content_rows: Int[np.ndarray, "listeners slots"]
    propensities: Float[np.ndarray, "listeners slots"]
    shelf: str

    def __post_init__(self) -> None:
        rows = self.content_rows
        if rows.shape != self.propensities.shape:
            raise ValueError(f"content_rows are {list(rows.shape)} and propensities {list(self.propensities.shape)}")
        if (rows < NOTHING).any():
            raise ValueError(f"content_rows must be 0 or more, or {NOTHING} for nothing, got {rows.min()}")
        is_empty = rows == NOTHING
        if (is_empty[:, :-1] & ~is_empty[:, 1:]).any():
            raise ValueError("a slot is empty, and one behind it is not")
        in_order = np.sort(rows, axis=1)
        if ((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != NOTHING)).any():
            raise ValueError("content_rows must differ, and one is shown twice to a listener")
        is_chance = (self.propensities > 0) & (self.propensities <= 1)
        if not is_chance.all():
            raise ValueError(f"propensities must be above 0 and at most 1, got {self.propensities[~is_chance][0]}")

    def __len__(self) -> int:
        return len(self.content_rows)
