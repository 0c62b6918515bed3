"""How a slate is drawn as a whole: one member's ranking, or cards at random.

Published policies explore slate by slate: epsilon-greedy makes a whole slate random, Thompson sampling draws one
posterior sample for a slate. `drawing.slate_of` decides anew in each slot instead, so that any card keeps its floor in
each; here the chance of a card, given those in the slots before, can be very small once they look like a member's.
Both log exact chances.
"""

import numpy as np
from jaxtyping import Bool, Int

from towers.contract.slate import NOTHING, Slate
from towers.policies.bandit.drawing import Draws, slate_of


def whole_slates_of(
    rankings: Int[np.ndarray, "members listeners depth"],
    draws: Draws,
    floor: float,
    content_rows: Int[np.ndarray, " cards"],
    is_allowed: Bool[np.ndarray, "listeners cards"] | None,
    shelf: str,
) -> Slate:
    """Draws slates as `drawing.slate_of` does, but decides once for all slots of each.

    The chance of a card is that of the cards up to it over that of the cards before it: each member gives its share
    where its ranking begins with these cards, the random slates theirs.
    """
    listeners, slots = draws.coins.shape
    lacking = slots - rankings.shape[2]
    ended = np.concatenate([rankings, np.full((*rankings.shape[:2], lacking), NOTHING)], axis=2)
    ranked = np.append(content_rows, NOTHING)[ended]
    member = (draws.members[:, 0] * len(ranked)).astype(np.int64)
    rows = ranked[member, np.arange(listeners)]
    is_random = draws.coins[:, 0] < floor
    # With a floor of 1 and no member, slots are drawn one by one from the cards left.
    nobody = np.zeros((1, listeners, 0), dtype=np.int64)
    random = slate_of(nobody, draws, 1.0, content_rows, is_allowed, shelf).content_rows
    rows = np.where(is_random[:, None], random, rows)
    left = np.full(listeners, len(content_rows)) if is_allowed is None else is_allowed.sum(axis=1)
    of_random, is_member = np.full(listeners, floor), np.ones(ranked.shape[:2], dtype=bool)
    chances = np.ones((listeners, slots))
    for slot in range(slots):
        has_any = left > slot
        before = (1 - floor) * is_member.mean(axis=0) + of_random
        is_member &= ranked[:, :, slot] == rows[:, slot]
        of_random = of_random / np.maximum(left - slot, 1)
        now = (1 - floor) * is_member.mean(axis=0) + of_random
        # The two sums round differently, so that a chance of 1 could come out above it.
        chances[:, slot] = np.where(has_any, np.minimum(now / before, 1.0), 1.0)
    return Slate(content_rows=rows, propensities=chances, shelf=shelf)
