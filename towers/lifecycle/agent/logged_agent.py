"""Adapter of an agent's policy for a judgement by a log: propensities of given slates, and features for models."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from towers.policies.agent.features import CONTEXT, context_of
from towers.policies.agent.policy import AgentPolicy, Drawn
from towers.simulation.environment.observation import MOMENT, Observation
from towers.training.agent.serving import seen_of

_COUNTS: Final = ("plays", "sessions", "position", "days_away")
"""Values of a moment whose logarithm is a feature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedAgent:
    """Implements `logged.LoggedChoice`, and describes steps for models.

    Args:
        policy: policy to judge. It is asked for as many slots as a log's slates have.
        slots: number of slots of the slates that it would show.
    """

    policy: AgentPolicy
    slots: int

    def chances(
        self, seen: Observation, slates: Int[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots"]:
        """See `LoggedChoice.chances`."""
        return _with_slots(self.policy, slates.shape[1]).chances(seen_of(seen), slates)

    def draw(self, seen: Observation, rng: np.random.Generator) -> Drawn:
        """See `LoggedChoice.draw`."""
        return _with_slots(self.policy, self.slots).draw(seen_of(seen), rng)

    def describe(
        self, seen: Observation
    ) -> tuple[Float[np.ndarray, "listeners states"], Float[np.ndarray, "listeners candidates features"]]:
        """See `Describe`: the policy's context and the listener's activity, and the policy's features."""
        told = seen_of(seen)
        moment = {name: seen["moment"][:, place].astype(np.float64) for place, name in enumerate(MOMENT)}
        states = [column for name, column in zip(CONTEXT, context_of(told).T, strict=True) if name != "always"]
        states += [np.log1p(moment[name]) for name in _COUNTS]
        states += [moment["days_in_episode"], moment["skips"] / np.maximum(moment["plays"], 1.0)]
        features = np.where(seen["candidates"][..., None] >= 0, self.policy.features(told), 0.0)
        return np.stack(states, axis=1).astype(np.float64), features.astype(np.float64)


def _with_slots(policy: AgentPolicy, slots: int) -> AgentPolicy:
    if policy.slots == slots:
        return policy
    made = replace(policy, slots=slots)
    # Reading features takes long to set up and does not depend on the slots.
    made.__dict__["reader"] = policy.reader
    return made
