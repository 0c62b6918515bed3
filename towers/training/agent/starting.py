"""Where a training begins: at the policy that is best for the next moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from towers.manifest import atomic_file
from towers.policies.agent.features import FEATURES
from towers.policies.agent.policy import AgentPolicy, Chance, no_weights
from towers.simulation.environment.world import ListeningWorld
from towers.training.agent.chance import fit_chances, weights_of

BEGUN = "begun.pt"
CHANCE_SPREAD = 0.1


@runtime_checkable
class Watch(Protocol):
    """Is told of a training, step by step."""

    def __call__(self, step: int, steps: int, figures: Mapping[str, float]) -> None:
        """One more step is done.

        Args:
            step: its number, from 1.
            steps: how many there will be.
            figures: means of a listener's episode by name, and their return.
        """
        ...


@runtime_checkable
class Learner(Protocol):
    """Finds the weights of a policy."""

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
        """Trains in worlds.

        Args:
            worlds: of listeners, of the same contents.
            weights: of the parts of the return.
            folder: for the checkpoint; a training that stands there goes on, to the same result.
            seed: of all that is drawn.
            watch: told of each step.
            long_term: `[contents]`, what a stream of each is worth later; null: the same for all.
        """
        ...


def blank(
    worlds: Sequence[ListeningWorld], long_term: Float[np.ndarray, " contents"] | None, chance: Chance | None = None
) -> AgentPolicy:
    """A policy of worlds to which all candidates are alike."""
    world = worlds[0]
    return AgentPolicy(
        contents=world.space, weights=no_weights(), chance=chance, long_term=long_term,
        recovery_hours=world.listeners.state.drift.recovery_hours, slots=world.slate_size,
    )  # fmt: skip


class Start:
    """Learns from slates of random candidates what the next moment brings, and begins with that.

    Args:
        sharpness: what the log-odds of a listen are multiplied by; the larger, the less is tried.
        chance: weight of the chance of a stream to begin with: 0 for what is picked most; the larger, the more a skip
            is avoided at the cost of picks. What it is worth in the long term takes very many plays to learn.
        rounds: of episodes.
        without: features that are not read, neither here nor later.

    Raises:
        ValueError: a name that is no feature, or a number that cannot be.
    """

    def __init__(self, sharpness: float = 1.0, chance: float = 20.0, rounds: int = 2, without: Sequence[str] = ()):
        if unknown := sorted({*without} - {*FEATURES}):
            raise ValueError(f"without: {unknown[0]!r} is none of {', '.join(FEATURES)}")
        require(sharpness=sharpness > 0, rounds=rounds >= 1)
        self.chance = chance
        self.sharpness, self.rounds, self.without = sharpness, rounds, tuple(without)

    @property
    def is_read(self) -> Float[np.ndarray, " features"]:
        """1 for each feature that is read, 0 for the others."""
        return np.array([name not in self.without for name in FEATURES], float)

    def begin(
        self, worlds: Sequence[ListeningWorld], long_term: Float[np.ndarray, " contents"] | None, seed: int
    ) -> "Begun":
        """What a training begins with.

        Args:
            worlds: of listeners.
            long_term: see `Learner.train`.
            seed: of all that is drawn.
        """
        listen, stream, spread = fit_chances(worlds, blank(worlds, long_term), seed, self.is_read, self.rounds)
        # The chance is no feature of what is shown while it is learned: about a tenth is what it varies by.
        spread[FEATURES.index("chance")] = CHANCE_SPREAD
        weights = weights_of(listen, self.sharpness)
        weights[0, FEATURES.index("chance")] = self.chance
        return Begun(weights=weights * self.is_read, chance=stream, spread=spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What a training begins with.

    Args:
        weights: of the policy.
        chance: that what is picked is streamed.
        spread: standard deviation of each feature.
    """

    weights: Float[np.ndarray, "context features"]
    chance: Chance
    spread: Float[np.ndarray, " features"]

    def tensors(self) -> dict[str, Tensor]:
        """All of it for a checkpoint."""
        parts = {"weights": self.weights, "spread": self.spread, "chance": self.chance.weights,
                 "chance_of_context": self.chance.of_context}  # fmt: skip
        return {name: torch.from_numpy(part) for name, part in parts.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Begun":
        """What `tensors` made."""
        parts = {name: tensor.numpy() for name, tensor in tensors.items()}
        chance = Chance(weights=parts["chance"], of_context=parts["chance_of_context"])
        return cls(weights=parts["weights"], spread=parts["spread"], chance=chance)


def begun_in(
    folder: Path,
    start: Start,
    worlds: Sequence[ListeningWorld],
    long_term: Float[np.ndarray, " contents"] | None,
    seed: int,
) -> Begun:
    """What a training begins with, kept in its folder: made once."""
    path = folder / BEGUN
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            torch.save(start.begin(worlds, long_term, seed).tensors(), temporary)
    return Begun.of(torch.load(path, weights_only=True))


def require(**holds: bool) -> None:
    """Raises: ValueError, with the name of the first setting that does not hold."""
    for name, is_so in holds.items():
        if not is_so:
            raise ValueError(f"{name} is out of range; its comment in configs/learner says what it may be")


def total_of(figures: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The return of an episode whose parts have these means."""
    return sum(weight * figures[name] for name, weight in weights.items())
