"""The random policy: every card is equally likely in every slot. It is the baseline of all other policies."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import Slate
from towers.policies.bandit.choosing import Drawing


class Uniform:
    """Draws cards uniformly at random, and learns nothing.

    Args:
        slots: number of cards in a slate.
        shelf: name of the shelf in its slates.
        policy_id: name in the log.
    """

    def __init__(self, slots: int = 12, shelf: str = "home", policy_id: str = "uniform"):
        self._drawing = Drawing(slots=slots, floor=1.0, shelf=shelf)
        self.slots, self.policy_id = slots, policy_id

    def settings(self) -> dict[str, Any]:
        """Returns the keyword arguments as JSON values."""
        return {"slots": self.slots, "shelf": self._drawing.shelf, "policy_id": self.policy_id}

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """Draws one slate for each listener, by the floor alone."""
        return self._drawing.select(_unranked, context, candidates, generator, at_once=max(len(context), 1))

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """Returns the same probability for each card that is left."""
        return self._drawing.chances(_unranked, context, candidates, shown, at_once=max(len(context), 1))

    def update(self, outcomes: Outcomes) -> None:
        """Does nothing."""

    def state(self) -> dict[str, np.ndarray]:
        """Returns no arrays."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Does nothing."""


def _unranked(context: Context, candidates: Candidates) -> Int[np.ndarray, "1 listeners 0"]:
    """Returns one member with an empty ranking for each listener."""
    return np.zeros((1, len(context), 0), np.int64)
