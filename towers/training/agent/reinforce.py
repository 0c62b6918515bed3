"""REINFORCE over whole episodes of many simulated listeners at once, by its natural gradient."""

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
from towers.training.agent.starting import Start, Watch, begun_in, blank, require, total_of

CHECKPOINT = "reinforce.pt"
LEARNED = ("chance", "long_term", "tried_artist")
"""What a play is worth beyond its moment."""


class Reinforce:
    """Finds the weights of a policy by the gradient of what its episodes return.

    It takes `steps` steps, each after an episode of every listener of one of the worlds, in turn. A step goes along the
    natural gradient, which is the advantages' least-squares fit by the gradients of the choices (Kakade 2001, "A
    natural policy gradient", theorem 1): a choice whose advantage is 1 gains `learning_rate` in its score. The weights
    are the mean of the last third.

    Args:
        start: where it begins.
        credit: which choices what follows is credited to.
        steps: of learning.
        learning_rate: see above.
        slower_after: steps after which they are half as long.
        farthest: that a step moves scores, in the mean over choices (root of the mean square); longer steps are cut.
        horizon_days: in which what comes later counts 1/e.
        trace: lambda of the advantages.
        kept_share: of adopted artists who are kept, about; see `advantages.rewards_of`.
        learned: features whose weights are moved; those of the others stay what they are at the start. What a play is
            worth in the long term can hardly be told from one day's noise, so the fewer are learned the better each is.
        contexts: by which weights may depend on the listener; of more there is more to be learned from the same plays.

    Raises:
        ValueError: a name that is no feature, or no context.
    """

    def __init__(
        self,
        start: Start,
        credit: Credit,
        steps: int = 25,
        learning_rate: float = 10.0,
        farthest: float = 1.0,
        slower_after: float = 10.0,
        horizon_days: float = 10.0,
        trace: float = 0.99,
        kept_share: float = 0.5,
        learned: Sequence[str] = LEARNED,
        contexts: Sequence[str] = ("always",),
    ):
        for key, names, known in (("learned", learned, FEATURES), ("contexts", contexts, CONTEXT)):
            if unknown := sorted({*names} - {*known}):
                raise ValueError(f"{key}: {unknown[0]!r} is none of {', '.join(known)}")
        require(
            steps=steps >= 1, learning_rate=learning_rate > 0, slower_after=slower_after > 0, farthest=farthest > 0,
            horizon_days=horizon_days > 0, trace=0 <= trace <= 1,
        )  # fmt: skip
        self.learned = tuple(learned)
        self.start, self.credit, self.steps = start, credit, steps
        self.learning_rate, self.farthest, self.slower_after = learning_rate, farthest, slower_after
        self.horizon_days, self.trace, self.kept_share = horizon_days, trace, kept_share
        self.contexts = tuple(contexts)

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
        done, by, late = _read(path, len(CONTEXT) * len(FEATURES) + PENALTIES)
        for step in range(done, self.steps):
            world = worlds[step % len(worlds)]
            episodes = play(world, moved(policy, by), self.credit, (seed, 53, step))
            # Ever shorter steps, so that noise averages out.
            by = by + self._step(episodes, weights) / (1.0 + step / self.slower_after)
            if step >= self._late:
                late = late + by
            figures = episodes.figures(len(world))
            watch(step + 1, self.steps, figures | {"return": total_of(figures, weights)})
            _save(path, step + 1, by, late)
        return moved(policy, late / max(self.steps - self._late, 1))

    @property
    def _late(self) -> int:
        return 2 * self.steps // 3

    def _step(self, episodes: Episodes, weights: Mapping[str, float]) -> Float[np.ndarray, " parameters"]:
        """By how much the parameters move: those of all contexts, and behind them the penalties."""
        rewards = rewards_of(episodes, weights, self.kept_share)
        advantages = advantages_of(episodes, rewards, self.horizon_days, self.trace)
        contexts = [place for place, name in enumerate(CONTEXT) if name in self.contexts]
        read = [place for place, name in enumerate(FEATURES) if name in self.learned and self.start.is_read[place]]
        of_features = episodes.gradient[:, read].astype(float)
        columns = [of_features * episodes.context[:, [place]] for place in contexts]
        choices = np.concatenate([*columns, episodes.gradient[:, -PENALTIES:].astype(float)], axis=1)
        counts = episodes.counts / max(float(episodes.counts.sum()), _LEAST)
        square = (choices * counts[:, None]).T @ choices
        ridge = _RIDGE * max(float(np.trace(square)) / len(square), _LEAST) * np.eye(len(square))
        move = self.learning_rate * np.linalg.solve(
            square + ridge, choices.T @ (counts * (advantages - counts @ advantages))
        )
        length = float(np.sqrt(move @ square @ move))
        move *= min(1.0, self.farthest / max(length, _LEAST))
        found = np.zeros((len(CONTEXT), len(FEATURES)))
        for place, of_context in zip(contexts, move[:-PENALTIES].reshape(len(contexts), len(read)), strict=True):
            found[place, read] = of_context
        return np.append(found.ravel(), move[-PENALTIES:])


_RIDGE = 1e-3
_LEAST = 1e-9


def moved(policy: AgentPolicy, by: Float[np.ndarray, " parameters"]) -> AgentPolicy:
    """The policy with its weights moved, and with the penalties that stand behind them."""
    artist, region = by[-PENALTIES:]
    weights = policy.weights + by[:-PENALTIES].reshape(policy.weights.shape)
    made = replace(policy, weights=weights, penalties=Penalties(artist=float(artist), region=float(region)))
    made.__dict__["reader"] = policy.reader
    return made


def _read(path: Path, number: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Steps done, by how much parameters have moved, and the sum of that in the last third."""
    if not path.exists():
        return 0, np.zeros(number), np.zeros(number)
    kept = torch.load(path, weights_only=True)
    return kept["step"], kept["by"].numpy(), kept["late"].numpy()


def _save(path: Path, step: int, by: np.ndarray, late: np.ndarray) -> None:
    with atomic_file(path) as temporary:
        torch.save({"step": step, "by": torch.from_numpy(by), "late": torch.from_numpy(late)}, temporary)
