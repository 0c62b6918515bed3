"""A learner that tries weights at random, for tests of what stands around one."""

import numpy as np

from towers.manifest import read_json, write_json
from towers.policies.agent.policy import AgentPolicy, no_weights
from towers.simulation.environment.value import value_of
from towers.training.agent.serving import Served


class Climbing:
    """Takes what is better in the first world."""

    def __init__(self, steps: int = 3):
        self.steps = steps

    def train(self, worlds, *, weights, folder, seed, watch):
        path = folder / "climbed.json"
        kept = read_json(path) if path.exists() else {"step": 0, "best": None, "weights": no_weights().tolist()}
        policy = AgentPolicy(contents=worlds[0].space, weights=np.array(kept["weights"]), slots=worlds[0].slate_size)
        for step in range(kept["step"] + 1, self.steps + 1):
            tried = policy.with_weights(
                policy.weights + np.random.default_rng([seed, step]).normal(size=policy.weights.shape)
            )
            found = float(value_of(Served(tried), worlds[0], [seed]).reward(weights).mean())
            if kept["best"] is None or found > kept["best"]:
                policy, kept["best"] = tried, found
            write_json(path, kept | {"step": step, "weights": policy.weights.tolist()})
            watch(step, self.steps, {"return": found})
        return policy
