"""An agent's policy in the simulated world: its observations are told in the words that the policy reads."""

import numpy as np
from jaxtyping import Int

from towers.policies.agent.features import Seen
from towers.policies.agent.policy import AgentPolicy
from towers.simulation.environment.observation import MOMENT, Observation

_POSITION, _PLAYS = MOMENT.index("position"), MOMENT.index("plays")


def seen_of(observation: Observation) -> Seen:
    """What an agent's policy reads of an observation."""
    moment = observation["moment"]
    return observation | {"position": moment[:, _POSITION], "plays": moment[:, _PLAYS]}


class Served:
    """A policy that serves in a world, as `simulation.environment.policies.ServingPolicy` has it.

    Args:
        policy: of the agent.
        name: in tables.
        draws: whether slates are drawn with propensities rather than being the best ones.
    """

    def __init__(self, policy: AgentPolicy, name: str = "agent", draws: bool = False):
        self.policy, self.name, self._draws = policy, name, draws

    def begin(self, seed: int) -> None:
        """See `ServingPolicy.begin`."""
        self._rng = np.random.default_rng([seed, 41])

    def begin_day(self, streamed: Int[np.ndarray, " contents"] | None) -> None:
        """See `ServingPolicy.begin_day`."""

    def act(self, observation: Observation) -> Int[np.ndarray, "listeners slate"]:
        """See `ServingPolicy.act`."""
        seen = seen_of(observation)
        return self.policy.draw(seen, self._rng).slates if self._draws else self.policy.act(seen)
