"""A planner for SARDINE that knows everything: what no recommender can do, and about how far one could come."""

from itertools import product

import numpy as np
from jaxtyping import Float, Int

from benchmarks.simulation.sardine_world import Listeners, Seen, of_most

DRAWS = 48
SLATES = tuple(product((0.1, 0.2, 0.35), (0.0, 0.1), (0.0, 0.15, 0.3)))
"""Penalties of the slates that are compared: by items of the topic in the slate, its recent clicks, its last ones."""


class Planner:
    """Takes, of some slates, the one of the most expected clicks less the chance that it bores times a cost.

    Args:
        listeners: whose hidden state is read.
        cost: of a listener who becomes bored, in clicks.
        rng: of the draws.
    """

    def __init__(self, listeners: Listeners, cost: float, rng: np.random.Generator):
        self._listeners, self._cost, self._rng = listeners, cost, rng

    def begin(self, seen: Seen) -> None:
        """See `Policy`."""

    def learn(self, seen: Seen, was_since_full: Int[np.ndarray, " listeners"]) -> None:
        """See `Policy`."""

    def act(self, seen: Seen) -> Int[np.ndarray, "listeners slate"]:
        """See `Policy`."""
        truth, topics = self._listeners.truth(), self._listeners.topics
        number = len(truth.chances)
        rows = np.arange(number)[:, None]
        last = np.zeros_like(seen.recent)
        np.add.at(last, (rows, topics[seen.slates]), seen.clicks)
        recent = np.stack([np.bincount(some[some >= 0], minlength=last.shape[1]) for some in truth.kept])
        best, most = np.zeros_like(seen.slates), np.full(number, -np.inf)
        for in_slate, of_recent, of_last in SLATES:
            score = truth.chances - of_recent * recent[:, topics] - of_last * last[:, topics]
            slates = of_most(score, topics, seen.slates.shape[1], in_slate)
            chance = np.take_along_axis(truth.chances, slates, axis=1) * truth.slots
            value = chance.sum(axis=1) - self._cost * self._bores(truth.kept, topics[slates], chance, truth.bound)
            best = np.where((value > most)[:, None], slates, best)
            most = np.maximum(most, value)
        return best

    def _bores(
        self, kept: Int[np.ndarray, "listeners clicks"], topics: Int[np.ndarray, "listeners slate"],
        chance: Float[np.ndarray, "listeners slate"], bound: int,
    ) -> Float[np.ndarray, " listeners"]:  # fmt: skip
        """Chance that some topic has as many clicks as bore among the last ones, by draws."""
        clicks = self._rng.random((DRAWS, *chance.shape)) < chance
        follow = np.concatenate([np.broadcast_to(kept, (DRAWS, *kept.shape)), np.where(clicks, topics, -1)], axis=2)
        # Only the last ones count, as many as are kept: those after which fewer clicks come.
        later = np.cumsum((follow >= 0)[:, :, ::-1], axis=2)[:, :, ::-1]
        follow = np.where(later <= kept.shape[1], follow, -1)
        most = np.max([(follow == topic).sum(axis=2) for topic in range(int(topics.max()) + 1)], axis=0)
        return (most >= bound).mean(axis=0)
