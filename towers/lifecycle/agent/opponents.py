"""What an agent is held beside: policies of the short term, the usual ways to vary them, and a planner that knows the
true state of the listeners, by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from towers.errors import UserError
from towers.simulation.environment.baselines import CappedGreedy, EpsilonMixed, Greedy
from towers.simulation.environment.chance import ClickChance
from towers.simulation.environment.planner import Planner
from towers.simulation.environment.policies import MostPlayed, RandomCandidates, ServingPolicy
from towers.simulation.listeners.space import Space

Make = Callable[[Space, ClickChance, int], ServingPolicy]
"""Makes a policy of the contents, the calibrated chance of a pick and the contents of a slate."""


def _diversified(strategy: str) -> Make:
    def make(space: Space, chance: ClickChance, slate: int) -> ServingPolicy:
        try:
            from towers.simulation.environment.diversified import Diversified  # here, as pyversity is an extra
        except ModuleNotFoundError:
            raise UserError(
                f"evaluate.baselines: {strategy} takes pyversity: pip install 'towers[simulation]', or leave it out"
            ) from None
        return Diversified(space, chance, slate, "mmr" if strategy == "mmr" else "dpp")

    return make


OPPONENTS: Final[Mapping[str, Make]] = {
    "greedy": Greedy,
    "capped": CappedGreedy,
    "planner": lambda space, chance, slate: Planner(slate),
    "mmr": _diversified("mmr"),
    "dpp": _diversified("dpp"),
    "mixed": lambda space, chance, slate: EpsilonMixed(Greedy(space, chance, slate)),
    "popular": lambda space, chance, slate: MostPlayed(space, slate),
    "random": lambda space, chance, slate: RandomCandidates(space, slate),
}
"""By the name in the configuration, what makes each; the first one is what the agent is held beside in detail."""


def opponents(names: Sequence[str], space: Space, chance: ClickChance, slate: int) -> list[ServingPolicy]:
    """Makes policies.

    Args:
        names: of them, see `required`.
        space: contents.
        chance: calibrated in a world of training.
        slate: contents of a slate.
    """
    return [OPPONENTS[name](space, chance, slate) for name in names]


def required(key: str, names: Sequence[str] | None) -> tuple[str, ...]:
    """The names that are meant, in the order of `OPPONENTS`.

    Args:
        key: of the configuration, for messages.
        names: that are given; null: all.

    Raises:
        UserError: a name that is none.
    """
    unknown = [name for name in names or () if name not in OPPONENTS]
    if unknown:
        raise UserError(f"{key}: no {unknown[0]!r}; there are {', '.join(OPPONENTS)}")
    return tuple(name for name in OPPONENTS if names is None or name in names)
