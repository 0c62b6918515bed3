"""The random policy: every card is equally likely in every slot. What all other policies are compared with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import Slate
from towers.policies.bandit.drawing import Draws, chances_of, places_of, slate_of


class Uniform:
    """Draws cards without looking at anything; learns nothing.

    Args:
        slots: cards in a slate.
        shelf: name of the shelf in its slates.
        policy_id: its name in the log.
    """

    def __init__(self, slots: int = 12, shelf: str = "home", policy_id: str = "uniform"):
        if slots < 1:
            raise ValueError(f"slots={slots}: must be at least 1")
        self.slots, self.shelf, self.policy_id = slots, shelf, policy_id

    def settings(self) -> dict[str, Any]:
        """Keywords of the constructor."""
        return {"slots": self.slots, "shelf": self.shelf, "policy_id": self.policy_id}

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """One slate for each listener, by the floor alone."""
        nobody = np.zeros((1, len(context), 0), np.int64)
        draws = Draws.of(generator, len(context), self.slots)
        return slate_of(nobody, draws, 1.0, candidates.content_rows, candidates.is_allowed, self.shelf)

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """The same for each card that is left."""
        nobody = np.zeros((1, len(context), 0), np.int64)
        places = places_of(candidates.content_rows, shown)
        return chances_of(nobody, places, 1.0, len(candidates), candidates.is_allowed)

    def update(self, outcomes: Outcomes) -> None:
        """Does nothing."""

    def state(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Does nothing."""
