"""An agent's policy as a serving policy of the simulated world, with observations mapped to its inputs."""

import numpy as np
from jaxtyping import Int

from towers.policies.agent.features import Seen
from towers.policies.agent.policy import AgentPolicy
from towers.simulation.environment.observation import MOMENT, Observation

_POSITION, _PLAYS = MOMENT.index("position"), MOMENT.index("plays")


def seen_of(observation: Observation) -> Seen:
    """Returns an observation as the input of an agent's policy."""
    moment = observation["moment"]
    return observation | {"position": moment[:, _POSITION], "plays": moment[:, _PLAYS]}


class Served:
    """An agent's policy that serves in a world; implements `simulation.environment.policies.ServingPolicy`.

    Args:
        policy: policy of the agent.
        name: name in tables.
        draws: whether slates are drawn at random with propensities; otherwise the best slate is shown.
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
