"""REINFORCE over whole episodes of many simulated listeners at once, with the natural gradient."""

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
"""Features whose weights are learned by default: what a play is worth beyond the next moment."""


class Reinforce:
    """Finds the weights of a policy by the gradient of its episodes' return.

    Each of `steps` steps follows an episode of every listener of one of the worlds, in turn. A step goes along the
    natural gradient, which is the least-squares fit of the advantages by the gradients of the choices (Kakade 2001, "A
    natural policy gradient", theorem 1): a choice with advantage 1 gains `learning_rate` in its score. The final
    weights are the mean over the last third of the steps.

    Args:
        start: initial policy.
        credit: rule that assigns credit to choices.
        steps: number of learning steps.
        learning_rate: see above.
        farthest: longest step, as the root mean square change of scores over choices; longer steps are shortened.
        slower_after: number of steps after which step lengths are halved.
        horizon_days: days after which a later reward is discounted to 1/e.
        trace: lambda of the advantages.
        kept_share: approximate share of adopted artists that are kept; see `advantages.rewards_of`.
        learned: features whose weights are learned; the others keep their initial weights. Long-term effects are
            small against the noise of single days, so fewer features are learned more precisely.
        contexts: context columns that learned weights may depend on; more of them need more plays.

    Raises:
        ValueError: a name is no feature or no context, or a setting is out of range.
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
            # Step lengths decrease, so that noise averages out.
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
        """Returns the change of the parameters: the weights by context and feature, then the penalties."""
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
    """Returns the policy with changed weights, and with the penalties at the end of `by`."""
    artist, region = by[-PENALTIES:]
    weights = policy.weights + by[:-PENALTIES].reshape(policy.weights.shape)
    made = replace(policy, weights=weights, penalties=Penalties(artist=float(artist), region=float(region)))
    made.__dict__["reader"] = policy.reader
    return made


def _read(path: Path, number: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns the number of steps done, the change of parameters so far, and its sum over the last third."""
    if not path.exists():
        return 0, np.zeros(number), np.zeros(number)
    kept = torch.load(path, weights_only=True)
    return kept["step"], kept["by"].numpy(), kept["late"].numpy()


def _save(path: Path, step: int, by: np.ndarray, late: np.ndarray) -> None:
    with atomic_file(path) as temporary:
        torch.save({"step": step, "by": torch.from_numpy(by), "late": torch.from_numpy(late)}, temporary)
