"""Policies that take the cards with the best mean reward: most popular, epsilon-greedy, explore then commit."""

from typing import Any

import numpy as np
from jaxtyping import Float

from towers.policies.bandit.segment_wise import SegmentWise, mean_of, ties_broken


class EpsilonGreedy(SegmentWise):
    """Takes the cards with the best mean reward, and any card with the chance epsilon.

    With `by_segment=False` and `unseen=0` it is the most popular cards with a floor. Published (Bendada et al. 2020,
    epsilon .1 to explore and .01 to exploit) it is `per_slate`: a tenth of the listeners see nothing but random cards.
    In each slot anew, a tenth of the cards is random as well, which costs less where the other cards of the slate are
    good.

    Args:
        epsilon: chance of any card, in [0, 1].
        unseen: what is thought of a card that nobody has seen; published 1, so that each is tried.
        slots: cards in a slate.
        by_segment: whether segments are told apart; otherwise all listeners are one.
        members: orders of cards that are thought equally good.
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
        epsilon: float = 0.1,
        unseen: float = 1.0,
        slots: int = 12,
        by_segment: bool = True,
        members: int = 32,
        per_slate: bool = False,
        discount: float = 1.0,
        seed: int = 0,
        shelf: str = "home",
        policy_id: str = "epsilon-greedy",
    ):
        super().__init__(
            slots=slots, by_segment=by_segment, members=members, floor=epsilon, per_slate=per_slate,
            discount=discount, seed=seed, shelf=shelf, policy_id=policy_id,
        )  # fmt: skip
        self.unseen = unseen

    def settings(self) -> dict[str, Any]:
        """Keywords of the constructor."""
        settings = super().settings()
        return {"epsilon": settings.pop("floor"), "unseen": self.unseen, **settings}

    def scores(
        self,
        seen: Float[np.ndarray, " cards"],
        rewarded: Float[np.ndarray, " cards"],
        generator: np.random.Generator,
    ) -> Float[np.ndarray, "members cards"]:
        """Mean rewards."""
        return ties_broken(mean_of(seen, rewarded, self.unseen), self.members, generator)

    def means(
        self, seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"]
    ) -> Float[np.ndarray, " cards"]:
        """Mean rewards."""
        return mean_of(seen, rewarded, self.unseen)


class ExploreThenCommit(SegmentWise):
    """Shows each card until it was seen often enough, those furthest from it first, then those with the best means.

    Args:
        explorations: how often each card has to be seen; published 100 (explores) and 20 (exploits).
        slots: cards in a slate.
        by_segment: whether segments are told apart; otherwise all listeners are one.
        members: orders of cards that are thought equally good.
        floor: chance of any card, in [0, 1].
        per_slate: whether a member, or the floor, decides for a whole slate, as published, and not in each slot anew.
        discount: share of its counts that an update keeps before it adds its own; what is forgotten is explored anew.
        seed: of these orders.
        shelf: name of the shelf in its slates.
        policy_id: its name in the log.

    Raises:
        ValueError: a keyword outside its bounds.
    """

    def __init__(
        self,
        explorations: int = 20,
        slots: int = 12,
        by_segment: bool = True,
        members: int = 32,
        floor: float = 0.05,
        per_slate: bool = False,
        discount: float = 1.0,
        seed: int = 0,
        shelf: str = "home",
        policy_id: str = "explore-then-commit",
    ):
        super().__init__(
            slots=slots, by_segment=by_segment, members=members, floor=floor, per_slate=per_slate,
            discount=discount, seed=seed, shelf=shelf, policy_id=policy_id,
        )  # fmt: skip
        self.explorations = explorations

    def settings(self) -> dict[str, Any]:
        """Keywords of the constructor."""
        return {"explorations": self.explorations, **super().settings()}

    def scores(
        self,
        seen: Float[np.ndarray, " cards"],
        rewarded: Float[np.ndarray, " cards"],
        generator: np.random.Generator,
    ) -> Float[np.ndarray, "members cards"]:
        """How much is missing to each card's explorations, then its mean reward."""
        missing = np.maximum(self.explorations - seen, 0.0)
        # Means are at most 1, so one more that is missing weighs more than any mean.
        return ties_broken(2 * missing + mean_of(seen, rewarded, 0.0), self.members, generator)

    def means(
        self, seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"]
    ) -> Float[np.ndarray, " cards"]:
        """Mean rewards; 0 for a card that nobody has seen."""
        return mean_of(seen, rewarded, 0.0)
