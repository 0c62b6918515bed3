"""How a slate is drawn: from equally likely rankings and a uniform floor, so that the chance of each choice is exact.

A policy that explores is a mixture of *members*, each of which ranks the cards in its own way: one for a greedy policy,
a number of draws from the posterior for Thompson sampling. For each slot a member is drawn, and its best card that is
not shown yet is taken; with a chance of `floor` any card is taken instead. The chance of a card for a slot, given the
slots before, is therefore `(1 - floor) * share of members whose best card left it is + floor / cards left`, without an
estimate.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.slate import NOTHING, Slate

GROUPS_PER_SLOT = 4
"""Groups whose best cards bound the ranking from below: more cost more to sort, fewer let more cards through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The random numbers of a slate, drawn before anything is chosen, so that listeners can be worked on in parts.

    Args:
        coins: `[listeners, slots]`, below the floor: any card is taken.
        members: `[listeners, slots]`, which member is asked, as a share of them.
        cards: `[listeners, slots]`, which card is taken where any is, as a share of those left.
    """

    coins: Float[np.ndarray, "listeners slots"]
    members: Float[np.ndarray, "listeners slots"]
    cards: Float[np.ndarray, "listeners slots"]

    @classmethod
    def of(cls, generator: np.random.Generator, listeners: int, slots: int) -> "Draws":
        """Draws them; a listener's do not depend on how many follow."""
        drawn = generator.random((listeners, 3, slots))
        return cls(coins=drawn[:, 0], members=drawn[:, 1], cards=drawn[:, 2])

    def for_(self, chosen: slice) -> "Draws":
        """Those of some listeners."""
        return Draws(coins=self.coins[chosen], members=self.members[chosen], cards=self.cards[chosen])


def rankings_of(
    scores: Float[np.ndarray, "members listeners cards"],
    slots: int,
    is_allowed: Bool[np.ndarray, "listeners cards"] | None,
) -> Int[np.ndarray, "members listeners slots"]:
    """Ranks the cards of each member and listener, best first; equal ones by their place.

    Args:
        scores: higher is better.
        slots: how many are ranked.
        is_allowed: the others are not ranked; null: all are.

    Returns:
        Places of the cards, `NOTHING` behind the last one that is allowed.
    """
    known = scores if is_allowed is None else np.where(is_allowed, scores, -np.inf)
    cards = known.shape[-1]
    depth = min(slots, cards)
    if not known.size or not depth:
        return np.full((*known.shape[:-1], depth), NOTHING)
    rows = np.ascontiguousarray(known).reshape(-1, cards)
    # Only the few that reach a bound are sorted, by a stable sort of each row: survivors come in the order of place.
    survivors = np.flatnonzero(rows >= _bounds(rows, depth))
    row, found = survivors // cards, rows.ravel()[survivors]
    counts = np.bincount(row, minlength=len(rows))
    starts = np.cumsum(counts) - counts
    beside = np.full((len(rows), counts.max()), np.inf, dtype=rows.dtype)
    beside[row, np.arange(len(survivors)) - starts[row]] = -found
    best = starts[:, None] + np.argsort(beside, axis=1, kind="stable")[:, :depth]
    ranked = np.where(np.isneginf(found[best]), NOTHING, survivors[best] % cards)
    return ranked.reshape(*known.shape[:-1], depth)


def _bounds(rows: Float[np.ndarray, "rows cards"], depth: int) -> Float[np.ndarray, "rows 1"]:
    """A score that at least `depth` cards of each row reach: the depth-th best of the best ones of groups of cards."""
    groups = GROUPS_PER_SLOT * depth
    per_group = rows.shape[1] // groups
    if per_group < 2:
        return np.partition(rows, -depth, axis=1)[:, -depth, None]
    best = rows[:, : groups * per_group].reshape(-1, per_group, groups).max(axis=1)
    return np.partition(best, -depth, axis=1)[:, -depth, None]


def slate_of(
    rankings: Int[np.ndarray, "members listeners depth"],
    draws: Draws,
    floor: float,
    content_rows: Int[np.ndarray, " cards"],
    is_allowed: Bool[np.ndarray, "listeners cards"] | None,
    shelf: str,
) -> Slate:
    """Draws slates.

    Args:
        rankings: places of cards, best first, for each equally likely member: as many as there are slots, or all that
            are allowed and then `NOTHING`.
        draws: the random numbers; their number of slots is that of the slate.
        floor: chance of any card, in [0, 1].
        content_rows: of the cards.
        is_allowed: which card may be shown to whom; null: all to all.
        shelf: of the slate.
    """
    listeners, slots = draws.coins.shape
    if listeners == 1 and is_allowed is None:
        places, chances = _drawn_for_one(rankings[:, 0].tolist(), draws, floor, len(content_rows))
        return Slate(content_rows=np.append(content_rows, NOTHING)[places], propensities=chances, shelf=shelf)
    everybody = np.arange(listeners)
    left = np.full(listeners, len(content_rows)) if is_allowed is None else is_allowed.sum(axis=1)
    # The allowed cards of each listener, numbered from 0, so that "any card left" is one number.
    numbered = None if is_allowed is None else np.argsort(~is_allowed, axis=1, kind="stable")
    number_of = None if is_allowed is None else np.cumsum(is_allowed, axis=1) - 1
    places = np.full((listeners, slots), NOTHING)
    taken = np.zeros((listeners, 0), dtype=np.int64)
    chances = np.ones((listeners, slots))
    for slot in range(slots):
        has_any = left > 0
        picks = _best_left(rankings, places[:, :slot])
        member = (draws.members[:, slot] * len(picks)).astype(np.int64)
        number = _shifted((draws.cards[:, slot] * left).astype(np.int64), taken)
        number = np.where(has_any, number, 0)
        any_card = number if numbered is None else numbered[everybody, number]
        card = np.where(draws.coins[:, slot] < floor, any_card, picks[member, everybody])
        share = (picks == card).mean(axis=0)
        chances[:, slot] = np.where(has_any, (1 - floor) * share + floor / np.maximum(left, 1), 1.0)
        places[:, slot] = np.where(has_any, card, NOTHING)
        taken = np.column_stack([taken, card if number_of is None else number_of[everybody, card]])
        left = left - has_any
    rows = np.append(content_rows, NOTHING)[places]
    return Slate(content_rows=rows, propensities=chances, shelf=shelf)


def _drawn_for_one(
    rankings: list[list[int]], draws: Draws, floor: float, cards: int
) -> tuple[Int[np.ndarray, "1 slots"], Float[np.ndarray, "1 slots"]]:
    """The loop of `slate_of` for one listener to whom all cards may be shown, in plain numbers: several times as quick
    as arrays of length 1, and equal bit for bit."""
    coins, asked, numbers = draws.coins[0].tolist(), draws.members[0].tolist(), draws.cards[0].tolist()
    members = len(rankings)
    heads, picks = [0] * members, [ranking[0] if ranking else NOTHING for ranking in rankings]
    shown: list[int] = []
    chances = [1.0] * len(coins)
    for slot in range(min(len(coins), cards)):
        left = cards - slot
        if coins[slot] < floor:
            card = int(numbers[slot] * left)
            for earlier in sorted(shown):
                card += card >= earlier
        else:
            card = picks[int(asked[slot] * members)]
        chances[slot] = (1 - floor) * (picks.count(card) / members) + floor / left
        shown.append(card)
        for member, pick in enumerate(picks):
            if pick == card:
                picks[member], heads[member] = _next(rankings[member], heads[member], shown)
    places = shown + [NOTHING] * (len(coins) - len(shown))
    return np.array([places]), np.array([chances])


def _next(ranking: list[int], head: int, shown: list[int]) -> tuple[int, int]:
    """The first of a ranking from `head` on that is not shown, and where it stands; `NOTHING` where all are."""
    while head < len(ranking) and ranking[head] in shown:
        head += 1
    return (ranking[head] if head < len(ranking) else NOTHING), head


def _best_left(
    rankings: Int[np.ndarray, "members listeners depth"], chosen: Int[np.ndarray, "listeners before"]
) -> Int[np.ndarray, "members listeners"]:
    """The first of each ranking that is not chosen yet; `NOTHING` where all are."""
    depth = min(rankings.shape[-1], chosen.shape[1] + 1)  # further down nobody has to look
    if depth == 0:
        return np.full(rankings.shape[:2], NOTHING)
    is_taken = (rankings[..., :depth, None] == chosen[None, :, None, :]).any(axis=-1)
    first = np.argmin(is_taken, axis=-1)[..., None]
    found = np.take_along_axis(rankings[..., :depth], first, axis=-1)[..., 0]
    return np.where(is_taken.all(axis=-1), NOTHING, found)


def _shifted(
    number: Int[np.ndarray, " listeners"], taken: Int[np.ndarray, "listeners before"]
) -> Int[np.ndarray, " listeners"]:
    """The number-th of the numbers from 0 that are not among those taken."""
    for earlier in np.sort(taken, axis=1).T:
        number = number + (number >= earlier)
    return number
