"""Slates drawn by one member each, with a floor in each slot.

Thompson sampling explores best where a listener's whole slate is one draw of the posterior. With a floor that decides
for whole slates (`whole_slates`), some listeners get only random cards. Here the floor decides anew in each slot, as in
`drawing`: a random card stands among chosen ones, which costs far less, since a slate loses one card in twelve and not
all of them, and any card keeps its floor in each slot, given any earlier slots.

Probabilities are exact: the cards in the earlier slots say by Bayes' rule which members may have drawn the slate, and
the probability of a card is `(1 - floor) * weight of the members whose best card left it is + floor / cards left`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.slate import NOTHING, Slate
from towers.policies.bandit.choosing import ChancesOf, Drawing, SlatesOf
from towers.policies.bandit.drawing import Draws

MOST = 1e200
"""Sum of members' weights above which they are normalised again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberDrawing(Drawing):
    """A `Drawing` whose member is drawn once for a slate, and whose floor is drawn in each slot."""

    def _ways(self) -> tuple[SlatesOf, ChancesOf]:
        return member_slates_of, member_chances_of


def member_slates_of(
    rankings: Int[np.ndarray, "members listeners depth"],
    draws: Draws,
    floor: float,
    content_rows: Int[np.ndarray, " cards"],
    is_allowed: Bool[np.ndarray, "listeners cards"] | None,
    shelf: str,
) -> Slate:
    """Draws slates like `drawing.slate_of`, but draws a listener's member once for all slots."""
    listeners, slots = draws.coins.shape
    if listeners == 1 and is_allowed is None:
        shown, for_one = _drawn_for_one(rankings[:, 0].tolist(), draws, floor, len(content_rows))
        return Slate(content_rows=np.append(content_rows, NOTHING)[shown], propensities=for_one, shelf=shelf)
    everybody = np.arange(listeners)
    own = (draws.members[:, 0] * len(rankings)).astype(np.int64)
    is_free = _free(listeners, len(content_rows), is_allowed)
    left, members = is_free.sum(axis=1), _Members(rankings, floor)
    places, chances = np.full((listeners, slots), NOTHING), np.ones((listeners, slots))
    for slot in range(slots):
        has_any = left > 0
        picks = members.picks()
        card = picks[own, everybody]
        chance = has_any & (draws.coins[:, slot] < floor)
        number = (draws.cards[chance, slot] * left[chance]).astype(np.int64)
        card[chance] = (np.cumsum(is_free[chance], axis=1) > number[:, None]).argmax(axis=1)
        card = np.where(has_any, card, NOTHING)
        chances[:, slot] = np.where(has_any, members.chance(picks, card, left), 1.0)
        members.follow(picks, card, left)
        is_free[everybody[has_any], card[has_any]] = False
        left = left - has_any
        places[:, slot] = card
    return Slate(content_rows=np.append(content_rows, NOTHING)[places], propensities=chances, shelf=shelf)


def member_chances_of(
    rankings: Int[np.ndarray, "members listeners depth"],
    shown: Int[np.ndarray, "listeners slots"],
    floor: float,
    cards: int,
    is_allowed: Bool[np.ndarray, "listeners cards"] | None,
) -> Float[np.ndarray, "listeners slots cards"]:
    """Returns the probability with which `member_slates_of` takes each card for each slot, like `drawing.chances_of`.
    Where the earlier slots cannot have been drawn by it, every member is equally likely again."""
    listeners, slots = shown.shape
    everybody = np.arange(listeners)
    is_free = _free(listeners, cards, is_allowed)
    members = _Members(rankings, floor)
    found = np.zeros((listeners, slots, cards + 1))  # the last is that of NOTHING
    for slot in range(slots):
        left = is_free.sum(axis=1)
        picks, weights = members.picks(), members.weights
        for pick, weight in zip(picks, weights, strict=True):
            found[everybody, slot, pick] += (1 - floor) * weight
        found[:, slot] += (floor / np.maximum(left, 1))[:, None] * is_free
        card = shown[:, slot]
        has_card = card != NOTHING
        members.follow(picks, card, left)
        is_free[everybody[has_card], card[has_card]] = False
    return found[..., :cards]


def _drawn_for_one(
    rankings: list[list[int]], draws: Draws, floor: float, cards: int
) -> tuple[Int[np.ndarray, "1 slots"], Float[np.ndarray, "1 slots"]]:
    """Runs the loop of `member_slates_of` for one listener to whom all cards may be shown, in plain numbers: several
    times faster than with arrays of length 1."""
    coins, numbers = draws.coins[0].tolist(), draws.cards[0].tolist()
    own = int(draws.members[0, 0] * len(rankings))
    # Unnormalised weights of members, so that those of members whose best card was not shown need no update.
    weights, heads, total = [1.0] * len(rankings), [0] * len(rankings), float(len(rankings))
    picks = [ranking[0] if ranking else NOTHING for ranking in rankings]
    shown: list[int] = []
    chances = [1.0] * len(coins)
    for slot in range(min(len(coins), cards)):
        of_any = floor / (cards - slot)
        card = picks[own]
        if coins[slot] < floor:
            card = int(numbers[slot] * (cards - slot))
            for earlier in sorted(shown):
                card += card >= earlier
        agreeing = [member for member, pick in enumerate(picks) if pick == card]
        agreed = sum([weights[member] for member in agreeing])
        chances[slot] = min((1 - floor) * agreed / total + of_any, 1.0)
        if floor:
            times = 1 + (1 - floor) / of_any
            for member in agreeing:
                weights[member] *= times
            total += agreed * (times - 1)
            if total > MOST:
                weights, total = [weight / total for weight in weights], 1.0
        else:
            weights, total = [weight * (pick == card) for weight, pick in zip(weights, picks, strict=True)], agreed
        shown.append(card)
        for member in agreeing:
            ranking, head = rankings[member], heads[member]
            while head < len(ranking) and ranking[head] in shown:
                head += 1
            heads[member], picks[member] = head, ranking[head] if head < len(ranking) else NOTHING
    places = shown + [NOTHING] * (len(coins) - len(shown))
    return np.array([places]), np.array([chances])


class _Members:
    """Posterior probability of each member to have drawn a slate, updated slot by slot.

    Args:
        rankings: as in `drawing.slate_of`.
        floor: probability of taking any card at random.
    """

    def __init__(self, rankings: Int[np.ndarray, "members listeners depth"], floor: float):
        # Behind each ranking stands NOTHING, so that every member has a pick.
        self._ended = np.concatenate([rankings, np.full((*rankings.shape[:2], 1), NOTHING)], axis=2)
        self._is_shown = np.zeros(self._ended.shape, dtype=bool)
        self._floor = floor
        self.weights = np.full(rankings.shape[:2], 1 / len(rankings))

    def picks(self) -> Int[np.ndarray, "members listeners"]:
        """Returns the best card of each member that is not shown yet."""
        first = self._is_shown.argmin(axis=2)
        return np.take_along_axis(self._ended, first[..., None], axis=2)[..., 0]

    def chance(
        self,
        picks: Int[np.ndarray, "members listeners"],
        card: Int[np.ndarray, " listeners"],
        left: Int[np.ndarray, " listeners"],
    ) -> Float[np.ndarray, " listeners"]:
        """Returns the probability of a card, given how many are left."""
        own = (self.weights * (picks == card)).sum(axis=0)
        # Sums of weights are rounded, so that a probability of 1 could come out above it.
        return np.minimum((1 - self._floor) * own + self._floor / np.maximum(left, 1), 1.0)

    def follow(
        self,
        picks: Int[np.ndarray, "members listeners"],
        card: Int[np.ndarray, " listeners"],
        left: Int[np.ndarray, " listeners"],
    ) -> None:
        """Updates the weights by a slot's card, and marks it as shown; `NOTHING` changes nothing."""
        has_card = card != NOTHING
        likely = self.weights * ((1 - self._floor) * (picks == card) + self._floor / np.maximum(left, 1))
        total = likely.sum(axis=0)
        is_told = has_card & (total > 0)
        told = likely / np.where(is_told, total, 1.0)
        lost = has_card & (total <= 0)
        self.weights = np.where(is_told, told, np.where(lost, 1 / len(likely), self.weights))
        self._is_shown |= (self._ended == card[:, None]) & has_card[:, None]


def _free(
    listeners: int, cards: int, is_allowed: Bool[np.ndarray, "listeners cards"] | None
) -> Bool[np.ndarray, "listeners more"]:
    """Returns which cards are left to each listener before the first slot; the last column, NOTHING, is false."""
    is_free = np.zeros((listeners, cards + 1), dtype=bool)
    is_free[:, :cards] = True if is_allowed is None else is_allowed
    return is_free
