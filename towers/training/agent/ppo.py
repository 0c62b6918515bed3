"""Proximal policy optimisation by stable-baselines3 (Schulman et al. 2017, "Proximal policy optimization algorithms").

The library is stable-baselines3 rather than torchrl: it needs only numpy, torch, Gymnasium and cloudpickle, and takes a
vectorised world as it is, while torchrl needs a tensor library that is released for each version of PyTorch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import set_random_seed
from torch import Tensor, nn

from towers.manifest import atomic_file
from towers.policies.agent.features import CONTEXT
from towers.policies.agent.policy import AgentPolicy
from towers.simulation.environment.world import ListeningWorld
from towers.training.agent.starting import Start, Watch, begun_in, blank, require, total_of
from towers.training.agent.weights_env import KNOWN, WeightsEnv

MODEL = "ppo.zip"


class _Heads(nn.Module):
    """An actor's features, which are the context itself, and a critic's: all known columns through one hidden layer."""

    def __init__(self, width: int):
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = len(CONTEXT), width
        self.critic = nn.Sequential(nn.Linear(KNOWN, width), nn.Tanh())

    def forward(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(observed), self.forward_critic(observed)

    def forward_actor(self, observed: Tensor) -> Tensor:
        return observed[:, : len(CONTEXT)]

    def forward_critic(self, observed: Tensor) -> Tensor:
        return self.critic(observed[:, len(CONTEXT) :])


class LinearActor(ActorCriticPolicy):
    """An actor-critic policy whose actor is linear in the context."""

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor: Any = _Heads(self.width)

    def __init__(self, *args: Any, width: int = 64, **settings: Any):
        self.width = width
        super().__init__(*args, **settings)
        # The first actions are centred on zero, so that training begins at the start's weights.
        actor: Any = self.action_net
        nn.init.zeros_(actor.weight)


class Ppo:
    """Finds the weights of a policy by proximal policy optimisation.

    Args:
        start: initial policy.
        steps: number of learning steps; each takes `plays` plays of every listener of one of the worlds, in turn.
        plays: plays of a listener in a step; an episode has one or two hundred, and a longer one is cut.
        learning_rate: learning rate of Adam.
        spread: initial standard deviation of the changes of weights.
        discount: discount per play.
        trace: lambda of the advantages.
        epochs: passes over each step's plays.
        batches: mini-batches per epoch; `plays` must be a multiple.
        width: hidden units of the critic.
        kept_share: see `advantages.rewards_of`.
    """

    def __init__(
        self,
        start: Start,
        steps: int = 40,
        plays: int = 200,
        learning_rate: float = 0.003,
        spread: float = 0.5,
        discount: float = 0.97,
        trace: float = 0.9,
        epochs: int = 5,
        batches: int = 10,
        width: int = 64,
        kept_share: float = 0.5,
    ):
        require(
            steps=steps >= 1, plays=plays >= 2, batches=batches >= 1, learning_rate=learning_rate > 0,
            spread=spread > 0, discount=0 <= discount <= 1, trace=0 <= trace <= 1, epochs=epochs >= 1, width=width >= 1,
        )  # fmt: skip
        if plays % batches:
            raise ValueError(f"plays={plays}, batches={batches}: plays must be a multiple of batches")
        self.batches = batches
        self.start, self.steps, self.plays, self.kept_share = start, steps, plays, kept_share
        self._settings: dict[str, Any] = {
            "n_steps": plays, "learning_rate": learning_rate, "gamma": discount, "gae_lambda": trace,
            "n_epochs": epochs, "device": "cpu",
            "policy_kwargs": {"width": width, "log_std_init": float(np.log(spread)), "ortho_init": False},
        }  # fmt: skip

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
        scale = self.start.is_read / begun.spread
        envs = [WeightsEnv(world, policy, weights, self.kept_share, scale) for world in worlds]
        path = folder / MODEL
        set_random_seed(seed)
        settings: dict[str, Any] = self._settings | {
            "batch_size": self.plays // self.batches * envs[0].num_envs,
            "seed": seed,
        }
        model = PPO.load(path, envs[0]) if path.exists() else PPO(LinearActor, envs[0], **settings)
        for step in range(model.num_timesteps // (self.plays * envs[0].num_envs), self.steps):
            env = envs[step % len(envs)]
            env.begin((seed, 54, step))
            set_random_seed(seed * 100_003 + step)
            model.set_env(env, force_reset=True)
            model.learn(self.plays * env.num_envs, reset_num_timesteps=False)
            figures = env.figures()
            watch(step + 1, self.steps, figures | {"return": total_of(figures, weights)})
            with atomic_file(path) as temporary, temporary.open("wb") as file:
                model.save(file)
        return policy.with_weights(policy.weights + self._moves(model) * scale)

    def _moves(self, model: PPO) -> Float[np.ndarray, "context features"]:
        actor: Any = model.policy.action_net
        moves = actor.weight.detach().numpy().T.astype(float).copy()
        moves[0] += actor.bias.detach().numpy()
        return moves
