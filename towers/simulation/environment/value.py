"""Value of a policy among simulated listeners, paired: every policy meets the same listeners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from towers.simulation.environment.policies import ServingPolicy
from towers.simulation.environment.rewards import PARTS, total
from towers.simulation.environment.serving import begun, turns
from towers.simulation.environment.world import ListeningWorld

_RESAMPLES: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """Results of listeners under a policy.

    Args:
        name: name of the policy.
        parts: `[listeners]`, summed over an episode, by the names of `rewards.PARTS`; seeds are concatenated, so that
            equal places are the same listener under another policy.
    """

    name: str
    parts: Mapping[str, Float[np.ndarray, " listeners"]]

    def mean(self) -> dict[str, tuple[float, float, float]]:
        """Returns the mean per listener of each part of the reward, with its 95 % interval."""
        return {name: mean_and_interval(part) for name, part in self.parts.items()}

    def over(self, other: "PolicyValue") -> dict[str, tuple[float, float, float]]:
        """Returns the mean difference from another policy for each part of the reward, with its paired interval."""
        return {name: mean_and_interval(part - other.parts[name]) for name, part in self.parts.items()}

    def reward(self, weights: Mapping[str, float]) -> Float[np.ndarray, " listeners"]:
        """Returns the scalar reward of each listener's episode."""
        return total(self.parts, weights)


def value_of(policy: ServingPolicy, world: ListeningWorld, seeds: Sequence[int]) -> PolicyValue:
    """Lets a policy serve all listeners of a world for an episode, once for each seed.

    Args:
        policy: serving policy.
        world: world of listeners; its days are the episode's.
        seeds: seeds of the listeners and of all random draws; listeners are the same for all policies.
    """
    found = [_served(policy, world, seed) for seed in seeds]
    return PolicyValue(
        name=policy.name, parts={name: np.concatenate([parts[name] for parts in found]).astype(float) for name in PARTS}
    )


def _served(policy: ServingPolicy, world: ListeningWorld, seed: int) -> dict[str, np.ndarray]:
    begun(policy, world, seed)
    sums = {name: np.zeros(len(world), np.int64) for name in PARTS}
    for turn in turns(policy, world):
        for name, part in turn.step.parts.items():
            sums[name][turn.rows] += part
    return sums


def mean_and_interval(values: Float[np.ndarray, " listeners"]) -> tuple[float, float, float]:
    """Returns the mean, and its 95 % interval by a bootstrap over listeners."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(values), np.full(len(values), 1.0 / len(values)), _RESAMPLES)
    low, high = np.quantile(counts @ values / len(values), (0.025, 0.975))
    return float(values.mean()), float(low), float(high)
