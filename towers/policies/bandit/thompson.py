"""Thompson sampling with a Beta posterior for each card, in each segment or over all listeners."""

from typing import Any

import numpy as np
from jaxtyping import Float

from towers.policies.bandit.segment_wise import SegmentWise


class Thompson(SegmentWise):
    """Chooses cards as often as they are the best by its posterior (Chapelle and Li 2011; Bendada et al. 2020).

    The posterior of a card in a segment is `Beta(alpha + rewards, beta + seen - rewards)`. `alpha=1, beta=1` is the
    naive prior, under which a card that nobody has seen is thought to be streamed every second time; `beta=99` the
    pessimistic one. Published, each listener has a draw of its own for his slate; here a segment's listeners share
    `members` draws until the next update, so that the chance of each choice is exact, and with `per_slate` each slate
    is one of them.

    Args:
        alpha: of the prior; above 0.
        beta: of the prior; above 0.
        slots: cards in a slate.
        by_segment: whether segments are told apart; otherwise all listeners are one.
        members: draws of the posterior.
        floor: chance of any card, in [0, 1].
        per_slate: whether a member, or the floor, decides for a whole slate, as published, and not in each slot anew.
        discount: share of its counts that an update keeps before it adds its own.
        seed: of the draws.
        shelf: name of the shelf in its slates.
        policy_id: its name in the log.

    Raises:
        ValueError: a keyword outside its bounds.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 99.0,
        slots: int = 12,
        by_segment: bool = True,
        members: int = 32,
        floor: float = 0.05,
        per_slate: bool = False,
        discount: float = 1.0,
        seed: int = 0,
        shelf: str = "home",
        policy_id: str = "thompson",
    ):
        super().__init__(
            slots=slots, by_segment=by_segment, members=members, floor=floor, per_slate=per_slate,
            discount=discount, seed=seed, shelf=shelf, policy_id=policy_id,
        )  # fmt: skip
        for name, value in (("alpha", alpha), ("beta", beta)):
            if value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        self.alpha, self.beta = alpha, beta

    def settings(self) -> dict[str, Any]:
        """Keywords of the constructor."""
        return {"alpha": self.alpha, "beta": self.beta, **super().settings()}

    def scores(
        self,
        seen: Float[np.ndarray, " cards"],
        rewarded: Float[np.ndarray, " cards"],
        generator: np.random.Generator,
    ) -> Float[np.ndarray, "members cards"]:
        """Draws from the posteriors."""
        size = (self.members, len(seen))
        return generator.beta(self.alpha + rewarded, self.beta + np.maximum(seen - rewarded, 0), size=size)

    def means(
        self, seen: Float[np.ndarray, " cards"], rewarded: Float[np.ndarray, " cards"]
    ) -> Float[np.ndarray, " cards"]:
        """The means of the posteriors."""
        return (self.alpha + rewarded) / (self.alpha + self.beta + np.maximum(seen, rewarded))
