"""Short-term baselines that an agent for the long term has to beat: greedy choice, and usual variations of it."""

import numpy as np
from jaxtyping import Float, Int

from towers.simulation.environment.chance import ClickChance
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.policies import MOST_OF_A_REGION, ServingPolicy, at_most_of_a_region, filled
from towers.simulation.environment.world import best_of
from towers.simulation.listeners.space import Space


class Greedy:
    """A policy that shows the candidates most likely to be picked and not skipped, best first.

    Args:
        space: space of the contents.
        chance: calibrated chance.
        slate_size: number of contents of a slate.
    """

    name = "greedy"

    def __init__(self, space: Space, chance: ClickChance, slate_size: int = 10):
        self._space, self._chance, self._slate_size = space, chance, slate_size

    def begin(self, seed: int) -> None:
        """See `ServingPolicy.begin`."""

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """See `ServingPolicy.begin_day`."""

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        return filled(best_of(self._scores(observation), observation["candidates"], self._slate_size))

    def _scores(self, observation: Observation) -> Float[np.ndarray, "listeners candidates"]:
        """Returns the chance of each candidate; -1 for empty places."""
        return np.where(observation["candidates"] >= 0, self._chance.of(self._space, observation), -1.0)


class CappedGreedy(Greedy):
    """`Greedy` with at most `most` contents of a named region, unless nothing else is left.

    Args:
        most: maximum number of contents of a region in a slate.
    """

    def __init__(self, space: Space, chance: ClickChance, slate_size: int = 10, most: int = MOST_OF_A_REGION):
        super().__init__(space, chance, slate_size)
        self.name, self._most = f"greedy, {most} of a region", most

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        candidates, scores = observation["candidates"], self._scores(observation)
        return filled(at_most_of_a_region(self._space, candidates, scores, self._slate_size, self._most))


class EpsilonMixed:
    """Another policy's slates, with each slot replaced by a random candidate with a probability.

    Args:
        policy: policy that chooses the slates.
        epsilon: probability of a replacement.
    """

    def __init__(self, policy: ServingPolicy, epsilon: float = 0.1):
        self.name, self._policy, self._epsilon = f"{policy.name}, {epsilon:g} random", policy, epsilon
        self._rng = np.random.default_rng(0)

    def begin(self, seed: int) -> None:
        """See `ServingPolicy.begin`."""
        self._policy.begin(seed)
        self._rng = np.random.default_rng([seed, 36])

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """See `ServingPolicy.begin_day`."""
        self._policy.begin_day(streamed)

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        slates, candidates = self._policy.act(observation).copy(), observation["candidates"]
        number = np.maximum((candidates >= 0).sum(axis=1), 1)
        rows = np.arange(len(slates))
        for slot in range(slates.shape[1]):
            any_ = candidates[rows, (self._rng.random(len(rows)) * number).astype(int)]
            changes = (self._rng.random(len(rows)) < self._epsilon) & (any_ >= 0)
            changes &= ~(slates == any_[:, None]).any(axis=1)
            slates[changes, slot] = any_[changes]
        return slates


def relevance(chance: Float[np.ndarray, " candidates"]) -> Float[np.ndarray, " candidates"]:
    """Returns the log-odds of chances, scaled to 0 for the least and 1 for the greatest, so that they can be weighed
    against variety."""
    clipped = np.clip(chance, 1e-6, 1.0 - 1e-6)
    log_odds = np.log(clipped / (1.0 - clipped))
    return (log_odds - log_odds.min()) / max(float(np.ptp(log_odds)), 1e-6)
