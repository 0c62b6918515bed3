"""REINFORCE over whole episodes of many simulated listeners at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float

from towers.manifest import atomic_file
from towers.policies.agent.features import CONTEXT, FEATURES
from towers.policies.agent.policy import AgentPolicy, Chance, no_weights
from towers.policies.agent.slates import Penalties
from towers.simulation.environment.world import ListeningWorld
from towers.training.agent.advantages import advantages_of, rewards_of
from towers.training.agent.chance import fit_chances, weights_of
from towers.training.agent.credit import PENALTIES, Credit
from towers.training.agent.episodes import Episodes, play

CHECKPOINT = "reinforce.pt"


@runtime_checkable
class Watch(Protocol):
    """Is told of a training, step by step."""

    def __call__(self, step: int, steps: int, figures: Mapping[str, float]) -> None:
        """One more step is done, of `steps`."""
        ...


class Reinforce:
    """Finds the weights of a policy by the gradient of what its episodes return.

    It begins at the policy that is best for the next moment (`chance.fit_chances`) and takes `steps` steps of Adam,
    each after an episode of every listener of one of the worlds, in turn. The weights are the mean of the last third.

    Args:
        steps: of learning.
        credit: which choices what follows is credited to.
        learning_rate: of Adam, for weights of features of a standard deviation of about 1.
        sharpness: what the log-odds of a listen are multiplied by at the begin; the larger, the less is tried.
        horizon_days: in which what comes later counts 1/e.
        trace: lambda of the advantages.
        kept_share: of adopted artists who are kept, about; see `advantages.rewards_of`.
        long_term: `[contents]`, what a stream of each is worth later; null: 0 for all.
        without: features that it does not read.
    """

    def __init__(
        self,
        credit: Credit,
        steps: int = 60,
        learning_rate: float = 0.1,
        sharpness: float = 2.0,
        horizon_days: float = 5.0,
        trace: float = 0.9,
        kept_share: float = 0.5,
        long_term: Float[np.ndarray, " contents"] | None = None,
        without: Sequence[str] = (),
    ):
        self.credit, self.steps, self.learning_rate, self.sharpness = credit, steps, learning_rate, sharpness
        self.horizon_days, self.trace, self.kept_share = horizon_days, trace, kept_share
        self.long_term, self.without = long_term, tuple(without)

    def train(
        self,
        worlds: Sequence[ListeningWorld],
        *,
        weights: Mapping[str, float],
        folder: Path,
        seed: int,
        watch: Watch,
    ) -> AgentPolicy:
        """Trains in worlds.

        Args:
            worlds: of listeners, of the same contents.
            weights: of the parts of the return.
            folder: for the checkpoint; a training that stands there goes on, to the same result.
            seed: of all that is drawn.
            watch: told of each step.
        """
        torch.manual_seed(seed)
        path = folder / CHECKPOINT
        kept = torch.load(path, weights_only=True) if path.exists() else None
        policy, parameters = self._begin(worlds, seed) if kept is None else self._resumed(worlds, kept)
        optimizer = torch.optim.Adam([parameters], lr=self.learning_rate, betas=(0.8, 0.99))
        late = np.zeros(parameters.shape) if kept is None else kept["late"].numpy()
        if kept is not None:
            optimizer.load_state_dict(kept["optimizer"])
        for step in range(0 if kept is None else kept["step"], self.steps):
            world = worlds[step % len(worlds)]
            episodes = play(world, with_parameters(policy, numbers(parameters)), self.credit, (seed, 53, step))
            parameters.grad = -torch.from_numpy(self._gradient(episodes, weights))
            torch.nn.utils.clip_grad_norm_([parameters], 1.0)
            optimizer.step()
            if step >= self._late:
                late = late + numbers(parameters)
            _save(path, {
                "step": step + 1, "parameters": parameters.detach(), "optimizer": optimizer.state_dict(),
                "late": torch.from_numpy(late), "chance": _of_chance(policy),
            })  # fmt: skip
            figures = episodes.figures(len(world))
            watch(step + 1, self.steps, figures | {"return": _return(figures, weights)})
        return with_parameters(policy, late / max(self.steps - self._late, 1))

    @property
    def _late(self) -> int:
        return 2 * self.steps // 3

    def _begin(self, worlds: Sequence[ListeningWorld], seed: int) -> tuple[AgentPolicy, torch.Tensor]:
        policy = self._policy(worlds, None)
        listen, stream = fit_chances(worlds, policy, seed)
        start = np.concatenate([weights_of(listen, self.sharpness).ravel(), np.zeros(PENALTIES)])
        return replace(policy, chance=stream), torch.from_numpy(start)

    def _resumed(
        self, worlds: Sequence[ListeningWorld], kept: Mapping[str, torch.Tensor]
    ) -> tuple[AgentPolicy, torch.Tensor]:
        chance = kept["chance"].numpy()
        stream = Chance(weights=chance[: -len(CONTEXT)], of_context=chance[-len(CONTEXT) :])
        return self._policy(worlds, stream), kept["parameters"]

    def _policy(self, worlds: Sequence[ListeningWorld], chance: Chance | None) -> AgentPolicy:
        world = worlds[0]
        return AgentPolicy(
            contents=world.space, weights=no_weights(), chance=chance, long_term=self.long_term,
            recovery_hours=world.listeners.state.drift.recovery_hours, slots=world.slate_size,
        )  # fmt: skip

    def _gradient(self, episodes: Episodes, weights: Mapping[str, float]) -> Float[np.ndarray, " parameters"]:
        rewards = rewards_of(episodes, weights, self.kept_share)
        advantages = advantages_of(episodes, rewards, self.horizon_days, self.trace)
        advantages = (advantages / max(float(advantages.std()), 1e-9)).astype(np.float32)
        credited = episodes.gradient * advantages[:, None]
        of_features = episodes.context.T @ credited[:, :-PENALTIES] / len(episodes)
        of_features[:, [FEATURES.index(name) for name in self.without]] = 0.0
        return np.concatenate([of_features.ravel(), credited[:, -PENALTIES:].mean(axis=0)]).astype(float)


def with_parameters(policy: AgentPolicy, parameters: Float[np.ndarray, " parameters"]) -> AgentPolicy:
    """The policy with the weights and, behind them, the penalties that stand in a vector."""
    artist, region = parameters[-PENALTIES:]
    made = policy.with_weights(parameters[:-PENALTIES].reshape(len(CONTEXT), len(FEATURES)))
    made = replace(made, penalties=Penalties(artist=float(artist), region=float(region)))
    made.__dict__["reader"] = policy.reader
    return made


def numbers(parameters: torch.Tensor) -> Float[np.ndarray, " parameters"]:
    """A copy as numpy."""
    return parameters.detach().numpy().copy()


def _of_chance(policy: AgentPolicy) -> torch.Tensor:
    assert policy.chance is not None
    return torch.from_numpy(np.concatenate([policy.chance.weights, policy.chance.of_context]))


def _return(figures: Mapping[str, float], weights: Mapping[str, float]) -> float:
    return sum(weight * figures[name] for name, weight in weights.items())


def _save(path: Path, kept: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        torch.save(dict(kept), temporary)
