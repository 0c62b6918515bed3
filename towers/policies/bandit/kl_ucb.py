"""KL-UCB for rewards of 0 and 1: the highest mean that the outcomes do not speak against."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import rel_entr

from towers.policies.bandit.segment_wise import SegmentWise, mean_of, ties_broken

HALVINGS = 30
"""Of the interval that a bound is searched in: it is exact to a billionth."""


class KlUcb(SegmentWise):
    """Takes the cards with the highest upper bounds (Garivier and Cappé, COLT 2011, with c = 0).

    A card's bound is the largest `q` with `seen * kl(mean, q) <= log(t)`, where `t` counts what was seen of all cards
    in all segments, as in Bendada et al. (RecSys 2020), and 1 for a card that nobody has seen.

    Args:
        slots: cards in a slate.
        by_segment: whether segments are told apart; otherwise all listeners are one.
        members: orders of cards that are thought equally good.
        floor: chance of any card, in [0, 1].
        per_slate: whether a member, or the floor, decides for a whole slate, as published, and not in each slot anew.
        discount: share of its counts that an update keeps before it adds its own.
        seed: of these orders.
        shelf: name of the shelf in its slates.
        policy_id: its name in the log.

    Raises:
        ValueError: a keyword outside its bounds.
    """

    def __init__(
        self,
        slots: int = 12,
        by_segment: bool = True,
        members: int = 32,
        floor: float = 0.05,
        per_slate: bool = False,
        discount: float = 1.0,
        seed: int = 0,
        shelf: str = "home",
        policy_id: str = "kl-ucb",
    ):
        super().__init__(
            slots=slots, by_segment=by_segment, members=members, floor=floor, per_slate=per_slate,
            discount=discount, seed=seed, shelf=shelf, policy_id=policy_id,
        )  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """Keywords of the constructor."""
        return super().settings()

    def scores(
        self,
        seen: Float[np.ndarray, " cards"],
        rewarded: Float[np.ndarray, " cards"],
        generator: np.random.Generator,
    ) -> Float[np.ndarray, "members cards"]:
        """Upper bounds."""
        bounds = upper_bounds(seen, rewarded, self._counts.total)
        return ties_broken(bounds, self.members, generator)

    def means(
        self, seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"]
    ) -> Float[np.ndarray, " cards"]:
        """Mean rewards; 1 for a card that nobody has seen, as its bound is."""
        return mean_of(seen, rewarded, 1.0)


def upper_bounds(
    seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"], total: float
) -> Float[np.ndarray, " cards"]:
    """The bound of each card, by bisection.

    Args:
        seen: how often each card was seen.
        rewarded: how often it was rewarded.
        total: what was seen of all cards.
    """
    is_seen = seen > 0
    mean = np.divide(rewarded, seen, out=np.ones(len(seen)), where=is_seen)
    allowed = np.divide(np.log(max(total, 1.0)), seen, out=np.full(len(seen), np.inf), where=is_seen)
    low, high = mean, np.ones(len(seen))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_allowed = rel_entr(mean, middle) + rel_entr(1 - mean, 1 - middle) <= allowed
        low, high = np.where(is_allowed, middle, low), np.where(is_allowed, high, middle)
    return low
