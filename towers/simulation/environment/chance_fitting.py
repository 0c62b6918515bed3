"""Fits the calibrated chance of a pick on served slates, random ones first."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from towers.simulation.environment.baselines import EpsilonMixed, Greedy
from towers.simulation.environment.chance import ClickChance, read_candidates
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.policies import RandomCandidates, ServingPolicy
from towers.simulation.environment.serving import begun, turns
from towers.simulation.environment.world import ListeningWorld, Step
from towers.simulation.listeners.logistic import fit_mixed_logistic
from towers.simulation.listeners.space import Space


class _Logged:
    """A serving policy that records the outcomes of its slates.

    Args:
        policy: policy that serves.
        space: space of the contents.
    """

    def __init__(self, policy: ServingPolicy, space: Space):
        self.name, self._policy, self._space = f"log of {policy.name}", policy, space
        self.read: list[np.ndarray] = []
        self.happened: list[np.ndarray] = []

    def begin(self, seed: int) -> None:
        """See `ServingPolicy.begin`."""
        self._policy.begin(seed)

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """See `ServingPolicy.begin_day`."""
        self._policy.begin_day(streamed)

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        return self._policy.act(observation)

    def learn(self, observation: Observation, slates: Int[np.ndarray, "listeners slate"], step: Step) -> None:
        """See `serving.Learning.learn`."""
        candidates = observation["candidates"]
        read = read_candidates(self._space, observation)
        # Place of each slot's content among the candidates; all shown contents are candidates.
        row, place = np.nonzero((candidates[:, :, None] == slates[:, None]).any(axis=2) & (candidates >= 0))
        self.read.append(read[row, place])
        is_picked = ~step.is_own[row] & (step.content[row] == candidates[row, place])
        self.happened.append(is_picked & (step.parts["streams"][row] > 0))


def fit_click_chance(world: ListeningWorld, seeds: Sequence[int] = (0,), slate_size: int = 10) -> ClickChance:
    """Fits the chance on slates of random candidates, then on these and on slates that mix random and best candidates.

    Args:
        world: world of listeners other than those of a later evaluation.
        seeds: seeds of the episodes.
        slate_size: number of contents of a slate.
    """
    space = world.space
    logged = [_Logged(RandomCandidates(space, slate_size), space)]
    chance = _fitted(_served(logged, world, seeds))
    best = EpsilonMixed(Greedy(space, chance, slate_size), 0.5)
    logged.append(_Logged(best, space))
    return _fitted(_served(logged, world, seeds))


def _served(logged: list[_Logged], world: ListeningWorld, seeds: Sequence[int]) -> list[_Logged]:
    for seed in seeds:
        begun(logged[-1], world, seed)
        for _ in turns(logged[-1], world):
            pass
    return logged


def _fitted(logged: Sequence[_Logged]) -> ClickChance:
    read = np.concatenate([rows for one in logged for rows in one.read])
    happened = np.concatenate([rows for one in logged for rows in one.happened])
    # All slots count as one listener's: a policy knows no trait of a listener whom it meets for the first time.
    logistic = fit_mixed_logistic(read, happened, np.zeros(len(read), np.int64), np.ones(1))
    return ClickChance(logistic=logistic)
