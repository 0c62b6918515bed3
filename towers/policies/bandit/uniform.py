"""The random policy: every card is equally likely in every slot. What all other policies are compared with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract.policy import Candidates, Context, Outcomes
from towers.contract.slate import Slate
from towers.policies.bandit.choosing import Drawing


class Uniform:
    """Draws cards without looking at anything; learns nothing.

    Args:
        slots: cards in a slate.
        shelf: name of the shelf in its slates.
        policy_id: its name in the log.
    """

    def __init__(self, slots: int = 12, shelf: str = "home", policy_id: str = "uniform"):
        self._drawing = Drawing(slots=slots, floor=1.0, shelf=shelf)
        self.slots, self.policy_id = slots, policy_id

    def settings(self) -> dict[str, Any]:
        """Keywords of the constructor."""
        return {"slots": self.slots, "shelf": self._drawing.shelf, "policy_id": self.policy_id}

    def select(self, context: Context, candidates: Candidates, generator: np.random.Generator) -> Slate:
        """One slate for each listener, by the floor alone."""
        return self._drawing.select(_unranked, context, candidates, generator, at_once=max(len(context), 1))

    def chances(
        self, context: Context, candidates: Candidates, shown: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots cards"]:
        """The same for each card that is left."""
        return self._drawing.chances(_unranked, context, candidates, shown, at_once=max(len(context), 1))

    def update(self, outcomes: Outcomes) -> None:
        """Does nothing."""

    def state(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Does nothing."""


def _unranked(context: Context, candidates: Candidates) -> Int[np.ndarray, "1 listeners 0"]:
    """One member who ranks nothing."""
    return np.zeros((1, len(context), 0), np.int64)
