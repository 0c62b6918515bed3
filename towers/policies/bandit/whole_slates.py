"""Slates drawn as a whole: one member's ranking, or random cards.

Published policies explore slate by slate: epsilon-greedy makes a whole slate random, Thompson sampling draws one
posterior sample for a slate. `drawing.slate_of` decides anew in each slot instead, so that any card keeps its floor in
each; here the probability of a card, given the earlier slots, can be very small once they look like a member's ranking.
Both log exact probabilities.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

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
    """Draws slates like `drawing.slate_of`, but decides once for all slots of each.

    The probability of a card is that of the cards up to it over that of the cards before it: each member contributes
    its share where its ranking begins with these cards, and the random slates contribute theirs.
    """
    listeners, slots = draws.coins.shape
    lacking = slots - rankings.shape[2]
    ended = np.concatenate([rankings, np.full((*rankings.shape[:2], lacking), NOTHING)], axis=2)
    ranked = np.append(content_rows, NOTHING)[ended]
    member = (draws.members[:, 0] * len(ranked)).astype(np.int64)
    rows = ranked[member, np.arange(listeners)]
    is_random = draws.coins[:, 0] < floor
    # With a floor of 1 and a member without a ranking, slots are drawn one by one from the cards left.
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
        # The two sums are rounded differently, so that a probability of 1 could come out above it.
        chances[:, slot] = np.where(has_any, np.minimum(now / before, 1.0), 1.0)
    return Slate(content_rows=rows, propensities=chances, shelf=shelf)


def whole_chances_of(
    rankings: Int[np.ndarray, "members listeners depth"],
    shown: Int[np.ndarray, "listeners slots"],
    floor: float,
    cards: int,
    is_allowed: Bool[np.ndarray, "listeners cards"] | None,
) -> Float[np.ndarray, "listeners slots cards"]:
    """Returns the probability with which `whole_slates_of` takes each card for each slot, like `drawing.chances_of`.
    Where the earlier slots cannot have been drawn by it, any card left is equally likely."""
    listeners, slots = shown.shape
    everybody = np.arange(listeners)
    is_free = np.ones((listeners, cards), dtype=bool) if is_allowed is None else is_allowed.copy()
    of_random, is_member = np.full(listeners, floor), np.ones(rankings.shape[:2], dtype=bool)
    found = np.zeros((listeners, slots, cards + 1))  # the last is that of NOTHING
    for slot in range(slots):
        left = np.maximum(is_free.sum(axis=1), 1)
        before = (1 - floor) * is_member.mean(axis=0) + of_random
        is_ranked = slot < rankings.shape[2]
        for own, follows in zip(rankings[..., slot] if is_ranked else (), is_member, strict=False):
            found[everybody, slot, own] += follows * (1 - floor) / len(rankings)
        found[:, slot, :cards] += (of_random / left)[:, None] * is_free
        with np.errstate(divide="ignore", invalid="ignore"):
            found[:, slot] = np.where((before > 0)[:, None], found[:, slot] / before[:, None], 0.0)
        found[:, slot, :cards] += np.where(before > 0, 0.0, 1 / left)[:, None] * is_free
        card = shown[:, slot]
        has_card = card != NOTHING
        if is_ranked:
            is_member &= ~has_card | (rankings[..., slot] == card)
        of_random = np.where(has_card, of_random / left, of_random)
        is_free[everybody[has_card], card[has_card]] = False
    return found[..., :cards]
