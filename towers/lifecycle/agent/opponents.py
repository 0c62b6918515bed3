"""Policies that an agent is compared with, by name: short-term policies, the usual ways to diversify them, and a
planner that knows the listeners' true state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from towers.errors import UserError
from towers.extras import how_to_install
from towers.lifecycle.agent.baselines import CalibratedGreedy, HomeBandit
from towers.simulation.environment.baselines import CappedGreedy, EpsilonMixed, Greedy
from towers.simulation.environment.chance import ClickChance
from towers.simulation.environment.planner import Planner
from towers.simulation.environment.policies import MostPlayed, RandomCandidates, ServingPolicy
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners.space import Space


@dataclass(frozen=True, kw_only=True)
class Practice:
    """Ingredients of the baselines.

    Args:
        world: world of listeners of the training, in which baselines are prepared.
        chance: chance of a pick, calibrated there.
        slate: number of contents of a slate.
        seed: seed of random draws.
    """

    world: ListeningWorld
    chance: ClickChance
    slate: int
    seed: int

    @property
    def space(self) -> Space:
        """Contents of the world."""
        return self.world.space


Make = Callable[[Practice], ServingPolicy]


def _diversified(strategy: Literal["mmr", "dpp"]) -> Make:
    def make(practice: Practice) -> ServingPolicy:
        try:
            from towers.simulation.environment.diversified import Diversified  # here, as pyversity is an extra
        except ModuleNotFoundError:
            raise UserError(
                f"evaluate.baselines: {strategy} needs pyversity: {how_to_install('simulation')}, or leave it out"
            ) from None
        return Diversified(practice.space, practice.chance, practice.slate, strategy)

    return make


OPPONENTS: Final[Mapping[str, Make]] = {
    "greedy": lambda one: Greedy(one.space, one.chance, one.slate),
    "capped": lambda one: CappedGreedy(one.space, one.chance, one.slate),
    "calibrated": lambda one: CalibratedGreedy(one.space, one.chance, one.slate),
    "planner": lambda one: Planner(one.slate),
    "mmr": _diversified("mmr"),
    "dpp": _diversified("dpp"),
    "mixed": lambda one: EpsilonMixed(Greedy(one.space, one.chance, one.slate)),
    "bandit": lambda one: HomeBandit.taught(one.world, (one.seed,), one.slate),
    "popular": lambda one: MostPlayed(one.space, one.slate),
    "random": lambda one: RandomCandidates(one.space, one.slate),
}
"""Functions that make the policies, by name in the configuration; the agent is compared with the first in detail."""


def required(key: str, names: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the named policies, in the order of `OPPONENTS`.

    Args:
        key: key of the configuration, for messages.
        names: given names; null: all.

    Raises:
        UserError: a name is unknown.
    """
    unknown = [name for name in names or () if name not in OPPONENTS]
    if unknown:
        raise UserError(f"{key}: no {unknown[0]!r}; there are {', '.join(OPPONENTS)}")
    return tuple(name for name in OPPONENTS if names is None or name in names)
