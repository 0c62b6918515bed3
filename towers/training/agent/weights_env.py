"""A world of listeners as a vectorised environment of stable-baselines3: an action is a change of a listener's weights.

Proximal policy optimisation has no distribution over slates, so it acts with a Gaussian over the features' weights, and
the slate is the best one under them. The learned policy is linear as elsewhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Int
from stable_baselines3.common.vec_env import VecEnv

from towers.contract.durations import DAY_US
from towers.policies.agent.features import CONTEXT, FEATURES, context_of
from towers.policies.agent.policy import AgentPolicy
from towers.simulation.environment.observation import Observation
from towers.simulation.environment.rewards import PARTS
from towers.simulation.environment.world import ListeningWorld, Step
from towers.training.agent.episodes import known_of
from towers.training.agent.serving import seen_of

KNOWN = 17
"""Columns of `episodes.known_of`."""
FARTHEST = 100.0
"""Bound on the change of a weight, which the library requires; far beyond what training reaches."""


class WeightsEnv(VecEnv):
    """Listeners who are each served with changed weights; a finished episode is followed by a new one at once.

    An observation is `CONTEXT` followed by `known_of`, float32.

    Args:
        world: world of listeners.
        policy: policy whose weights are changed.
        weights: weight of each part of the return, by its name.
        kept_share: see `advantages.rewards_of`.
        scale: factor on the action of each feature; 0 for a feature that is not read.
    """

    def __init__(
        self,
        world: ListeningWorld,
        policy: AgentPolicy,
        weights: Mapping[str, float],
        kept_share: float,
        scale: Float[np.ndarray, " features"],
    ):
        self.world, self.policy, self.weights = world, policy, weights
        self._early = weights.get("kept_artists", 0.0) * kept_share
        self._scale = scale.astype(np.float32)
        width = len(CONTEXT) + KNOWN
        super().__init__(
            len(world), spaces.Box(-np.inf, np.inf, (width,), np.float32),
            spaces.Box(-FARTHEST, FARTHEST, (len(FEATURES),), np.float32),
        )  # fmt: skip
        self._moved = np.zeros((len(world), len(FEATURES)), np.float32)
        self._given = np.zeros(len(world))
        self._own = {name: np.zeros(len(world)) for name in (*PARTS, "clicks", "plays")}
        self._sums, self._episodes = dict.fromkeys(self._own, 0.0), 0

    def begin(self, seed: Sequence[int]) -> None:
        """Sets the seed of everything from the next reset on, and clears the figures."""
        self._rng = np.random.default_rng(list(seed))
        self._sums, self._episodes = dict.fromkeys(self._own, 0.0), 0

    def figures(self) -> dict[str, float]:
        """Returns means over the episodes that ended since `begin`, by name; NaN where none has ended."""
        return {name: value / self._episodes if self._episodes else np.nan for name, value in self._sums.items()}

    def _count(self, step: Step, over: Bool[np.ndarray, " listeners"]) -> None:
        counted = {**step.parts, "clicks": ~step.is_own, "plays": np.ones(self.num_envs)}
        for name, own in self._own.items():
            own += counted[name]
            self._sums[name] += float(own[over].sum())
            own[over] = 0.0
        self._episodes += int(over.sum())

    def reset(self) -> Float[np.ndarray, "listeners observed"]:
        """Starts a new episode in all rows."""
        self.world.reset(np.arange(self.num_envs), self._rng)
        self._given[:] = 0.0
        for own in self._own.values():
            own[:] = 0.0
        return self._observed()

    def step_async(self, actions: Float[np.ndarray, "listeners features"]) -> None:
        """Stores the changes of the weights until `step_wait`."""
        self._moved = actions.astype(np.float32) * self._scale

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Plays one content for every listener."""
        policy, rows = self.policy, np.arange(self.num_envs)
        seen = seen_of(self._observation)
        scores = policy.scores(self._features, seen)
        own = np.matmul(self._features, self._moved[..., None])[..., 0]
        slots = policy.slot_by_slot(scores + own, seen)
        places = np.stack([slot.place for slot in slots], axis=1)
        step = self.world.step(rows, self._slates(seen["candidates"], places))
        over = step.terminated | step.truncated
        rewards = self._rewards(step.parts, over)
        self._count(step, over)
        infos: list[dict[str, Any]] = [{} for _ in rows]
        if over.any():
            ended = np.flatnonzero(over)
            # The episode is over, so nothing follows, and the value of the last observation is not needed.
            for row in ended:
                infos[row]["terminal_observation"] = self._observed_last[row]
            self.world.reset(ended)
            self._given[ended] = 0.0
        return self._observed(), rewards.astype(np.float32), over, infos

    def _rewards(self, parts: Mapping[str, np.ndarray], over: np.ndarray) -> Float[np.ndarray, " listeners"]:
        early = self._early * parts["adopted_artists"]
        self._given += early
        total = sum((weight * parts[name] for name, weight in self.weights.items()), np.zeros(self.num_envs))
        return total + early - np.where(over, self._given, 0.0)

    def _slates(self, candidates: np.ndarray, places: np.ndarray) -> Int[np.ndarray, "listeners slots"]:
        return np.take_along_axis(candidates, places, axis=1).astype(np.int64)

    def _observed(self) -> Float[np.ndarray, "listeners observed"]:
        world, rows = self.world, np.arange(self.num_envs)
        self._observation: Observation = world.observe(rows)
        seen = seen_of(self._observation)
        self._features = self.policy.features(seen)
        known = known_of(self._observation, self._features, (world.end_us - world.now_us) / DAY_US)
        self._observed_last = np.concatenate([context_of(seen), known], axis=1).astype(np.float32)
        return self._observed_last

    def close(self) -> None:
        """Does nothing: no resource is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Returns the environment's attribute once per row, since all rows share one world."""
        return [getattr(self, attr_name, None)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raises `NotImplementedError`: the class is abstract without it; PPO never calls it, as rows share a world."""
        raise NotImplementedError(attr_name)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Raises `NotImplementedError`; see `set_attr`."""
        raise NotImplementedError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Returns false for every row: none is wrapped."""
        return [False] * self.num_envs
