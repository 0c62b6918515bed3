"""Slates of the likeliest candidates, diversified by Pyversity."""

from typing import Literal

import numpy as np
from jaxtyping import Int
from pyversity import diversify

from towers.simulation.environment.baselines import Greedy, relevance
from towers.simulation.environment.chance import ClickChance
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.policies import filled
from towers.simulation.listeners.space import Space


class Diversified(Greedy):
    """The likeliest candidates, diversified by Pyversity, one listener after another.

    `mmr`: maximal marginal relevance (Carbonell and Goldstein 1998), with cosines in the space. `dpp`: the greedy mode
    of a determinantal point process (Chen, Zhang and Zhou 2018). Relevance is `baselines.relevance`.

    Args:
        strategy: `mmr` or `dpp`.
        diversity: from 0, relevance alone, which is `Greedy`, to 1, variety alone.
    """

    def __init__(
        self,
        space: Space,
        chance: ClickChance,
        slate_size: int = 10,
        strategy: Literal["mmr", "dpp"] = "mmr",
        diversity: float = 0.3,
    ):
        super().__init__(space, chance, slate_size)
        self.name, self._strategy, self._diversity = strategy, strategy, diversity

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        candidates, chance = observation["candidates"], self._chance.of(self._space, observation)
        slates = np.full((len(candidates), self._slate_size), -1, np.int64)
        for row, (some, of) in enumerate(zip(candidates, chance, strict=True)):
            there = some >= 0
            found = diversify(
                self._space.vectors[some[there]],
                relevance(of[there]),
                self._slate_size,
                self._strategy,
                self._diversity,
            ).indices
            slates[row, : len(found)] = some[there][found]
        return filled(slates)
