"""Slates drawn from equally likely rankings and a uniform floor, so that the probability of each choice is exact.

A policy that explores is a mixture of *members*, each of which ranks the cards in its own way: one for a greedy policy,
a number of draws from the posterior for Thompson sampling. For each slot a member is drawn, and its best card that is
not shown yet is taken; with probability `floor` a card is taken uniformly at random instead. Given the earlier slots,
the probability of a card for a slot is therefore exactly `(1 - floor) * share of members whose best card left it is +
floor / cards left`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.slate import NOTHING, Slate

GROUPS_PER_SLOT = 4
"""Groups for each slot whose best cards bound the ranking from below: more cost sorting, fewer let more cards
through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Random numbers of a slate, drawn before anything is chosen, so that listeners can be processed in parts.

    Args:
        coins: `[listeners, slots]`; below the floor any card is taken.
        members: `[listeners, slots]`, which member is asked, as a share of them.
        cards: `[listeners, slots]`, which card is taken where any may be, as a share of those left.
    """

    coins: Float[np.ndarray, "listeners slots"]
    members: Float[np.ndarray, "listeners slots"]
    cards: Float[np.ndarray, "listeners slots"]

    @classmethod
    def of(cls, generator: np.random.Generator, listeners: int, slots: int) -> "Draws":
        """Draws the numbers; a listener's do not depend on how many listeners follow."""
        drawn = generator.random((listeners, 3, slots))
        return cls(coins=drawn[:, 0], members=drawn[:, 1], cards=drawn[:, 2])

    def for_(self, chosen: slice) -> "Draws":
        """Returns the numbers of some listeners."""
        return Draws(coins=self.coins[chosen], members=self.members[chosen], cards=self.cards[chosen])


def rankings_of(
    scores: Float[np.ndarray, "members listeners cards"],
    slots: int,
    is_allowed: Bool[np.ndarray, "listeners cards"] | None,
) -> Int[np.ndarray, "members listeners slots"]:
    """Ranks the cards of each member and listener, best first; ties by place.

    Args:
        scores: higher is better.
        slots: number of cards to rank.
        is_allowed: which cards may be ranked; null: all.

    Returns:
        Places of the cards, then `NOTHING` after the last allowed one.
    """
    known = scores if is_allowed is None else np.where(is_allowed, scores, -np.inf)
    cards = known.shape[-1]
    depth = min(slots, cards)
    if not known.size or not depth:
        return np.full((*known.shape[:-1], depth), NOTHING)
    rows = np.ascontiguousarray(known).reshape(-1, cards)
    # Only the few that reach a bound are sorted, by a stable sort: survivors are in the order of their place.
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
    """Returns a score that at least `depth` cards of each row reach: the depth-th best of the maxima of groups of
    cards."""
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
        draws: the random numbers, as many as the slate has slots.
        floor: probability of taking any card at random, in [0, 1].
        content_rows: rows of the cards.
        is_allowed: which card may be shown to which listener; null: all to all.
        shelf: name of the shelf.
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
    # Behind each ranking, and behind the cards, stands NOTHING, which is never shown: so every head stops.
    ended = np.concatenate([rankings, np.full((*rankings.shape[:2], 1), NOTHING)], axis=2)
    heads, picks = np.zeros(rankings.shape[:2], dtype=np.int64), ended[..., 0].copy()
    is_shown = np.zeros((listeners, len(content_rows) + 1), dtype=bool)
    for slot in range(slots):
        has_any = left > 0
        member = (draws.members[:, slot] * len(picks)).astype(np.int64)
        number = _shifted((draws.cards[:, slot] * left).astype(np.int64), taken)
        number = np.where(has_any, number, 0)
        any_card = number if numbered is None else numbered[everybody, number]
        card = np.where(draws.coins[:, slot] < floor, any_card, picks[member, everybody])
        is_own = picks == card
        share = is_own.mean(axis=0)
        chances[:, slot] = np.where(has_any, (1 - floor) * share + floor / np.maximum(left, 1), 1.0)
        places[:, slot] = np.where(has_any, card, NOTHING)
        taken = np.column_stack([taken, card if number_of is None else number_of[everybody, card]])
        left = left - has_any
        is_shown[everybody[has_any], card[has_any]] = True
        _advance(heads, picks, ended, is_own & has_any, is_shown)
    rows = np.append(content_rows, NOTHING)[places]
    return Slate(content_rows=rows, propensities=chances, shelf=shelf)


def chances_of(
    rankings: Int[np.ndarray, "members listeners depth"],
    shown: Int[np.ndarray, "listeners slots"],
    floor: float,
    cards: int,
    is_allowed: Bool[np.ndarray, "listeners cards"] | None,
) -> Float[np.ndarray, "listeners slots cards"]:
    """Returns the probability with which `slate_of` takes each card for each slot, given any cards in the earlier
    slots. Off-policy evaluation rests on it.

    Args:
        rankings: as in `slate_of`, at least as deep as there are slots, or with all that are allowed.
        shown: places of the cards that were shown, by any policy; `NOTHING` for a slot that was empty or showed a card
            that is no candidate.
        floor: probability of taking any card at random.
        cards: number of cards.
        is_allowed: which card may be shown to which listener; null: all to all.

    Returns:
        Probabilities that sum to 1 in each slot for which a card is left, and are 0 in the others.
    """
    listeners, slots = shown.shape
    everybody = np.arange(listeners)
    ended = np.concatenate([rankings, np.full((*rankings.shape[:2], 1), NOTHING)], axis=2)
    heads, picks = np.zeros(rankings.shape[:2], dtype=np.int64), ended[..., 0].copy()
    is_shown = np.zeros((listeners, cards + 1), dtype=bool)
    is_free = np.ones((listeners, cards), dtype=bool) if is_allowed is None else is_allowed.copy()
    found = np.zeros((listeners, slots, cards + 1))  # the last is that of NOTHING
    for slot in range(slots):
        left = is_free.sum(axis=1)
        of_any = np.where(left > 0, floor / np.maximum(left, 1), 0.0)
        for own in picks:
            found[everybody, slot, own] += (1 - floor) / len(picks)
        found[:, slot, :cards] += of_any[:, None] * is_free
        card = shown[:, slot]
        has_card = card != NOTHING
        is_free[everybody[has_card], card[has_card]] = False
        is_shown[everybody[has_card], card[has_card]] = True
        _advance(heads, picks, ended, (picks == card) & has_card, is_shown)
    return found[..., :cards]


def places_of(
    content_rows: Int[np.ndarray, " cards"], shown: Int[np.ndarray, "listeners slots"]
) -> Int[np.ndarray, "listeners slots"]:
    """Returns the places of slates' cards among the candidates; `NOTHING` for an empty slot or a card that is no
    candidate."""
    if not len(content_rows):
        return np.full(shown.shape, NOTHING)
    order = np.argsort(content_rows)
    at = np.minimum(np.searchsorted(content_rows, shown, sorter=order), len(order) - 1)
    return np.where(content_rows[order[at]] == shown, order[at], NOTHING)


def _drawn_for_one(
    rankings: list[list[int]], draws: Draws, floor: float, cards: int
) -> tuple[Int[np.ndarray, "1 slots"], Float[np.ndarray, "1 slots"]]:
    """Runs the loop of `slate_of` for one listener to whom all cards may be shown, in plain numbers: several times
    faster than with arrays of length 1, and equal bit for bit."""
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
    """Returns the first of a ranking from `head` on that is not shown, and its place; `NOTHING` where all are."""
    while head < len(ranking) and ranking[head] in shown:
        head += 1
    return (ranking[head] if head < len(ranking) else NOTHING), head


def _advance(
    heads: Int[np.ndarray, "members listeners"],
    picks: Int[np.ndarray, "members listeners"],
    ended: Int[np.ndarray, "members listeners depth"],
    is_gone: Bool[np.ndarray, "members listeners"],
    is_shown: Bool[np.ndarray, "listeners cards"],
) -> None:
    """Moves the heads whose card is gone to the next card of their ranking that is not shown, in place."""
    member, listener = np.nonzero(is_gone)
    while len(member):
        heads[member, listener] += 1
        found = ended[member, listener, heads[member, listener]]
        picks[member, listener] = found
        is_again = is_shown[listener, found]
        member, listener = member[is_again], listener[is_again]


def _shifted(
    number: Int[np.ndarray, " listeners"], taken: Int[np.ndarray, "listeners before"]
) -> Int[np.ndarray, " listeners"]:
    """Returns the number-th of the numbers from 0 that are not taken."""
    for earlier in np.sort(taken, axis=1).T:
        number = number + (number >= earlier)
    return number
