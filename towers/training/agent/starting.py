"""The start of an agent's training: the policy that is best for the next play."""

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
    """A callback that follows a training step by step."""

    def __call__(self, step: int, steps: int, figures: Mapping[str, float]) -> None:
        """Takes the figures of a finished step.

        Args:
            step: number of the step, from 1.
            steps: number of steps in all.
            figures: means per listener's episode by name, and the return.
        """
        ...


@runtime_checkable
class Learner(Protocol):
    """An algorithm that finds the weights of a policy."""

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
        """Trains a policy in simulated worlds.

        Args:
            worlds: worlds of listeners with the same contents.
            weights: weight of each part of the return, by its name.
            folder: folder of the checkpoint; a training found there is resumed, with the same result.
            seed: seed of all random draws.
            watch: callback after each step.
            long_term: `[contents]`, long-term value of a stream of each content; null: the same for all.
        """
        ...


def blank(
    worlds: Sequence[ListeningWorld], long_term: Float[np.ndarray, " contents"] | None, chance: Chance | None = None
) -> AgentPolicy:
    """Returns a policy with zero weights, which scores all candidates alike."""
    world = worlds[0]
    return AgentPolicy(
        contents=world.space, weights=no_weights(), chance=chance, long_term=long_term,
        recovery_hours=world.listeners.state.drift.recovery_hours, slots=world.slate_size,
    )  # fmt: skip


class Start:
    """An initial policy fitted to the next play, from slates of random candidates.

    Args:
        sharpness: factor on the log-odds of a listen; larger values explore less.
        chance: initial weight of the chance of a stream: 0 favours what is picked most; larger values avoid skips
            at the cost of picks. Its long-term worth takes very many plays to learn.
        rounds: number of rounds of episodes.
        without: features that are never read, in the start and in training.

    Raises:
        ValueError: a name is no feature, or a number is out of range.
    """

    def __init__(self, sharpness: float = 1.0, chance: float = 20.0, rounds: int = 2, without: Sequence[str] = ()):
        if unknown := sorted({*without} - {*FEATURES}):
            raise ValueError(f"without: {unknown[0]!r} is none of {', '.join(FEATURES)}")
        require(sharpness=sharpness > 0, rounds=rounds >= 1)
        self.chance = chance
        self.sharpness, self.rounds, self.without = sharpness, rounds, tuple(without)

    @property
    def is_read(self) -> Float[np.ndarray, " features"]:
        """1 for each feature that is read, 0 for the others, `[FEATURES]`."""
        return np.array([name not in self.without for name in FEATURES], float)

    def begin(
        self, worlds: Sequence[ListeningWorld], long_term: Float[np.ndarray, " contents"] | None, seed: int
    ) -> "Begun":
        """Fits the start of a training.

        Args:
            worlds: worlds of listeners.
            long_term: see `Learner.train`.
            seed: seed of all random draws.
        """
        listen, stream, spread = fit_chances(worlds, blank(worlds, long_term), seed, self.is_read, self.rounds)
        # While the chance is fitted it is no feature yet, so its spread is set to a typical value.
        spread[FEATURES.index("chance")] = CHANCE_SPREAD
        weights = weights_of(listen, self.sharpness)
        weights[0, FEATURES.index("chance")] = self.chance
        return Begun(weights=weights * self.is_read, chance=stream, spread=spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Fitted start of a training.

    Args:
        weights: initial weights of the policy.
        chance: chance that a picked content is streamed.
        spread: standard deviation of each feature.
    """

    weights: Float[np.ndarray, "context features"]
    chance: Chance
    spread: Float[np.ndarray, " features"]

    def tensors(self) -> dict[str, Tensor]:
        """Returns all fields as tensors, for a checkpoint."""
        parts = {"weights": self.weights, "spread": self.spread, "chance": self.chance.weights,
                 "chance_of_context": self.chance.of_context}  # fmt: skip
        return {name: torch.from_numpy(part) for name, part in parts.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Begun":
        """Rebuilds the value from the result of `tensors`."""
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
    """Returns the start of a training that a folder keeps; fits and saves it where the folder has none."""
    path = folder / BEGUN
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            torch.save(start.begin(worlds, long_term, seed).tensors(), temporary)
    return Begun.of(torch.load(path, weights_only=True))


def require(**holds: bool) -> None:
    """Raises `ValueError` with the name of the first setting that does not hold."""
    for name, is_so in holds.items():
        if not is_so:
            raise ValueError(f"{name} is out of range; its comment in configs/learner says what it may be")


def total_of(figures: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Returns the weighted sum of the mean parts of the return."""
    return sum(weight * figures[name] for name, weight in weights.items())
