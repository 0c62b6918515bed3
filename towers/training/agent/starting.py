"""Where a training begins: at the policy that is best for the next moment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from towers.policies.agent.features import CONTEXT, FEATURES
from towers.policies.agent.policy import AgentPolicy, Chance, no_weights
from towers.simulation.environment.world import ListeningWorld
from towers.training.agent.chance import fit_chances, weights_of


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
        rounds: of episodes.
        without: features that are not read, neither here nor later.
    """

    def __init__(self, sharpness: float = 2.0, rounds: int = 2, without: Sequence[str] = ()):
        self.sharpness, self.rounds, self.without = sharpness, rounds, tuple(without)

    @property
    def is_read(self) -> Float[np.ndarray, " features"]:
        """1 for each feature that is read, 0 for the others."""
        return np.array([name not in self.without for name in FEATURES], float)

    def weights(
        self, worlds: Sequence[ListeningWorld], long_term: Float[np.ndarray, " contents"] | None, seed: int
    ) -> tuple[Float[np.ndarray, "context features"], Chance]:
        """The weights to begin with, and the chance that what is picked is streamed.

        Args:
            worlds: of listeners.
            long_term: see `Learner.train`.
            seed: of all that is drawn.
        """
        listen, stream = fit_chances(worlds, blank(worlds, long_term), seed, self.rounds)
        return weights_of(listen, self.sharpness) * self.is_read, stream


def as_numbers(chance: Chance) -> Float[np.ndarray, " numbers"]:
    """A chance as one array, for a checkpoint."""
    return np.concatenate([chance.weights, chance.of_context])


def as_chance(numbers: Float[np.ndarray, " numbers"]) -> Chance:
    """What `as_numbers` made an array of."""
    return Chance(weights=numbers[: -len(CONTEXT)], of_context=numbers[-len(CONTEXT) :])


def total_of(figures: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The return of an episode whose parts have these means."""
    return sum(weight * figures[name] for name, weight in weights.items())
