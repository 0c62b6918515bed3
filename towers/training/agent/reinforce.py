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
from towers.training.agent.starting import Start, Watch, begun_in, blank, total_of

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
        contexts: by which weights may depend on the listener; of more there is more to be learned from the same plays.
    """

    def __init__(
        self,
        start: Start,
        credit: Credit,
        steps: int = 60,
        learning_rate: float = 0.1,
        horizon_days: float = 5.0,
        trace: float = 0.97,
        kept_share: float = 0.5,
        contexts: Sequence[str] = ("always",),
    ):
        self.contexts = tuple(contexts)
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
        begun = begun_in(folder, self.start, worlds, long_term, seed)
        policy = blank(worlds, long_term, begun.chance).with_weights(begun.weights)
        path = folder / CHECKPOINT
        kept = torch.load(path, weights_only=True) if path.exists() else None
        parameters = torch.zeros(len(CONTEXT) * len(FEATURES) + PENALTIES, dtype=torch.float64)
        done, late = 0, np.zeros(len(parameters))
        if kept is not None:
            parameters, done, late = kept["parameters"], kept["step"], kept["late"].numpy()
        # Parameters say how far a feature of its standard deviation moves a score, so that a step is alike for all.
        scale = self._is_learned() / np.append(np.tile(begun.spread, len(CONTEXT)), np.ones(PENALTIES))
        optimizer = torch.optim.Adam([parameters], lr=self.learning_rate, betas=(0.8, 0.99))
        if kept is not None:
            optimizer.load_state_dict(kept["optimizer"])
        for step in range(done, self.steps):
            world = worlds[step % len(worlds)]
            now = moved(policy, numbers(parameters) * scale)
            episodes = play(world, now, self.credit, (seed, 53, step))
            parameters.grad = -torch.from_numpy(self._gradient(episodes, weights) * scale)
            torch.nn.utils.clip_grad_norm_([parameters], 1.0)
            optimizer.step()
            if step >= self._late:
                late = late + numbers(parameters)
            _save(path, {
                "step": step + 1, "parameters": parameters.detach(), "optimizer": optimizer.state_dict(),
                "late": torch.from_numpy(late),
            })  # fmt: skip
            figures = episodes.figures(len(world))
            watch(step + 1, self.steps, figures | {"return": total_of(figures, weights)})
        return moved(policy, late / max(self.steps - self._late, 1) * scale)

    @property
    def _late(self) -> int:
        return 2 * self.steps // 3

    def _is_learned(self) -> Float[np.ndarray, " parameters"]:
        """1 for each parameter that may move."""
        of_context = np.array([name in self.contexts for name in CONTEXT], float)
        return np.append(np.outer(of_context, self.start.is_read).ravel(), np.ones(PENALTIES))

    def _gradient(self, episodes: Episodes, weights: Mapping[str, float]) -> Float[np.ndarray, " parameters"]:
        rewards = rewards_of(episodes, weights, self.kept_share)
        advantages = advantages_of(episodes, rewards, self.horizon_days, self.trace)
        advantages = (advantages / max(float(advantages.std()), 1e-9)).astype(np.float32)
        credited = episodes.gradient * advantages[:, None]
        of_features = episodes.context.T @ credited[:, :-PENALTIES] / len(episodes)
        return np.concatenate([of_features.ravel(), credited[:, -PENALTIES:].mean(axis=0)]).astype(float)


def moved(policy: AgentPolicy, by: Float[np.ndarray, " parameters"]) -> AgentPolicy:
    """The policy with its weights moved, and with the penalties that stand behind them."""
    artist, region = by[-PENALTIES:]
    weights = policy.weights + by[:-PENALTIES].reshape(policy.weights.shape)
    made = replace(policy, weights=weights, penalties=Penalties(artist=float(artist), region=float(region)))
    made.__dict__["reader"] = policy.reader
    return made


def numbers(parameters: torch.Tensor) -> Float[np.ndarray, " parameters"]:
    """A copy as numpy."""
    return parameters.detach().numpy().copy()


def _save(path: Path, kept: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        torch.save(dict(kept), temporary)
