"""REINFORCE over whole episodes of many simulated listeners at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from towers.manifest import atomic_file
from towers.policies.agent.features import CONTEXT, FEATURES
from towers.policies.agent.policy import AgentPolicy
from towers.policies.agent.slates import Penalties
from towers.simulation.environment.world import ListeningWorld
from towers.training.agent.advantages import advantages_of, rewards_of
from towers.training.agent.credit import PENALTIES, Credit
from towers.training.agent.episodes import Episodes, play
from towers.training.agent.starting import Start, Watch, as_chance, as_numbers, blank, total_of

CHECKPOINT = "reinforce.pt"


class Reinforce:
    """Finds the weights of a policy by the gradient of what its episodes return.

    It takes `steps` steps of Adam, each after an episode of every listener of one of the worlds, in turn. The weights
    are the mean of the last third.

    Args:
        start: where it begins.
        credit: which choices what follows is credited to.
        steps: of learning.
        learning_rate: of Adam.
        horizon_days: in which what comes later counts 1/e.
        trace: lambda of the advantages.
        kept_share: of adopted artists who are kept, about; see `advantages.rewards_of`.
    """

    def __init__(
        self,
        start: Start,
        credit: Credit,
        steps: int = 60,
        learning_rate: float = 0.1,
        horizon_days: float = 5.0,
        trace: float = 0.9,
        kept_share: float = 0.5,
    ):
        self.start, self.credit, self.steps, self.learning_rate = start, credit, steps, learning_rate
        self.horizon_days, self.trace, self.kept_share = horizon_days, trace, kept_share

    def train(
        self,
        worlds: Sequence[ListeningWorld],
        *,
        weights: Mapping[str, float],
        folder: Path,
        seed: int,
        watch: Watch,
        long_term: Float[np.ndarray, " contents"] | None = None,
    ) -> AgentPolicy:
        """See `Learner.train`."""
        path = folder / CHECKPOINT
        kept = torch.load(path, weights_only=True) if path.exists() else None
        if kept is None:
            first, chance = self.start.weights(worlds, long_term, seed)
            parameters = torch.from_numpy(np.concatenate([first.ravel(), np.zeros(PENALTIES)]))
            done, late = 0, np.zeros(len(parameters))
        else:
            parameters, chance = kept["parameters"], as_chance(kept["chance"].numpy())
            done, late = kept["step"], kept["late"].numpy()
        policy = blank(worlds, long_term, chance)
        optimizer = torch.optim.Adam([parameters], lr=self.learning_rate, betas=(0.8, 0.99))
        if kept is not None:
            optimizer.load_state_dict(kept["optimizer"])
        for step in range(done, self.steps):
            world = worlds[step % len(worlds)]
            episodes = play(world, with_parameters(policy, numbers(parameters)), self.credit, (seed, 53, step))
            parameters.grad = -torch.from_numpy(self._gradient(episodes, weights))
            torch.nn.utils.clip_grad_norm_([parameters], 1.0)
            optimizer.step()
            if step >= self._late:
                late = late + numbers(parameters)
            _save(path, {
                "step": step + 1, "parameters": parameters.detach(), "optimizer": optimizer.state_dict(),
                "late": torch.from_numpy(late), "chance": torch.from_numpy(as_numbers(chance)),
            })  # fmt: skip
            figures = episodes.figures(len(world))
            watch(step + 1, self.steps, figures | {"return": total_of(figures, weights)})
        return with_parameters(policy, late / max(self.steps - self._late, 1))

    @property
    def _late(self) -> int:
        return 2 * self.steps // 3

    def _gradient(self, episodes: Episodes, weights: Mapping[str, float]) -> Float[np.ndarray, " parameters"]:
        rewards = rewards_of(episodes, weights, self.kept_share)
        advantages = advantages_of(episodes, rewards, self.horizon_days, self.trace)
        advantages = (advantages / max(float(advantages.std()), 1e-9)).astype(np.float32)
        credited = episodes.gradient * advantages[:, None]
        of_features = episodes.context.T @ credited[:, :-PENALTIES] / len(episodes) * self.start.is_read
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


def _save(path: Path, kept: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        torch.save(dict(kept), temporary)
