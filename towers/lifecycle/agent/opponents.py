"""What an agent is held beside: policies of the short term and the usual ways to vary them, by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from towers.errors import UserError
from towers.simulation.environment.baselines import CappedGreedy, EpsilonMixed, Greedy
from towers.simulation.environment.chance import ClickChance
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
    "mmr": _diversified("mmr"),
    "dpp": _diversified("dpp"),
    "mixed": lambda space, chance, slate: EpsilonMixed(Greedy(space, chance, slate)),
    "popular": lambda space, chance, slate: MostPlayed(space, slate),
    "random": lambda space, chance, slate: RandomCandidates(space, slate),
}
"""By the name in the configuration, what makes each; the first one is what the agent is held beside in detail."""


def opponents(names: Sequence[str] | None, space: Space, chance: ClickChance, slate: int) -> list[ServingPolicy]:
    """Makes policies.

    Args:
        names: of them; null: all.
        space: contents.
        chance: calibrated in a world of training.
        slate: contents of a slate.

    Raises:
        UserError: a name that is none.
    """
    return [OPPONENTS[name](space, chance, slate) for name in required(names)]


def required(names: Sequence[str] | None) -> tuple[str, ...]:
    """The names that are meant, in the order of `OPPONENTS`.

    Raises:
        UserError: a name that is none.
    """
    unknown = [name for name in names or () if name not in OPPONENTS]
    if unknown:
        raise UserError(f"evaluate.baselines: no {unknown[0]!r}; there are {', '.join(OPPONENTS)}")
    return tuple(name for name in OPPONENTS if names is None or name in names)
