"""Worlds that are not as a fitted simulator says: what an agent that was trained in one may meet in another.

Each is a fitted model with one thing changed, so that `make_world` takes it as any other.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.special import gamma

from towers.contract.durations import HOUR_US
from towers.errors import UserError
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners import response
from towers.simulation.listeners.logistic import MixedLogistic
from towers.simulation.listeners.model import ListenerModel, Simulator
from towers.simulation.listeners.response import Response
from towers.simulation.listeners.returning import SKIP_SHARES, Returning
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.planted.listeners import PlantedListeners, planted_log
from towers.simulation.planted.returns import LOSS, SHAPE
from towers.simulation.planted.world import Plant, PlantedWorld

NAMES: Final = ("satiation_half", "satiation_double", "weibull", "satisfaction", "drift")
"""Satiation half and twice as strong; gaps between sessions of Weibull distributions, whatever the hour and the skips;
listeners who come back the later, the more of the last session they skipped; tastes that follow plays faster."""
STATED_SATIATION: Final = 0.3
"""By how much the log-odds of a skip rise for each faded play of a content's region, where a fit has found less than
`_HARDLY`: half and twice as much are then added to what it has found, itself halved or doubled."""
_HARDLY: Final = 0.05
SLOW_FASTER, FAST_FASTER = 4.0, 2.0
"""So many times the fitted rates of the slow and the fast taste."""
_MOST_RATE: Final = 0.8
_USUAL_SKIPS: Final = 0.35
_LONGEST_HOURS: Final = 1e6
_MEAN: Final = float(gamma(1.0 + 1.0 / SHAPE))
"""Mean of a Weibull distribution of `SHAPE` and scale 1."""


def mis_specified(model: ListenerModel, name: str) -> ListenerModel:
    """The model with one thing changed.

    Args:
        model: fitted.
        name: one of `NAMES`.

    Raises:
        UserError: there is no such world.
    """
    if name == "satiation_half":
        return replace(model, response=with_satiation(model.response, 0.5))
    if name == "satiation_double":
        return replace(model, response=with_satiation(model.response, 2.0))
    if name == "weibull":
        return replace(model, returning=WeibullReturning.of(model.returning))
    if name == "satisfaction":
        return replace(model, returning=by_satisfaction(model.returning))
    if name == "drift":
        slow, fast = model.drift.slow_rate * SLOW_FASTER, model.drift.fast_rate * FAST_FASTER
        return replace(
            model, drift=replace(model.drift, slow_rate=min(slow, _MOST_RATE), fast_rate=min(fast, _MOST_RATE))
        )
    raise UserError(f"there is no world {name}; there are {', '.join(NAMES)}")


def mis_specified_simulator(simulator: Simulator, name: str) -> Simulator:
    """A simulator all of whose models have one thing changed (`mis_specified`), for `make_world` with a log.

    What the log's listeners remember is then counted by the changed model, too.
    """
    members = tuple(mis_specified(member, name) for member in simulator.members)
    return replace(simulator, central=mis_specified(simulator.central, name), members=members)


def with_satiation(fitted: Response, factor: float) -> Response:
    """Satiation so many times as strong in all that it does to a reaction, about its mean in the log: listeners are as
    satisfied on average.

    Where hardly any was fitted, `factor * STATED_SATIATION` is added to the log-odds of a skip for each unit.
    """
    names = response.names(tuple(str(code) for code in range(fitted.num_contexts)))
    at = names.index("satiation")
    columns = np.array([place for place, name in enumerate(names) if "satiation" in name.split(" x ")])
    chances = {name: _scaled(chance, columns, factor) for name, chance in fitted.chances.items()}
    skip, found = chances["skip"], fitted.chances["skip"]
    if found.weights[at] / found.scale[at] < _HARDLY:
        weights = skip.weights.copy()
        weights[at] += factor * STATED_SATIATION * skip.scale[at]
        chances["skip"] = replace(skip, weights=weights)
    return replace(fitted, chances=chances)


def _scaled(chance: MixedLogistic, columns: Int[np.ndarray, " columns"], factor: float) -> MixedLogistic:
    weights = chance.weights.copy()
    weights[columns] *= factor
    return replace(chance, weights=weights)


def by_satisfaction(fitted: Returning, loss: float = LOSS) -> Returning:
    """A hazard whose logarithm falls by `loss` from a session without a skip to one of nothing else; the rest stays."""
    edges = np.array([0.0, *SKIP_SHARES, 1.0])
    middle = (edges[:-1] + edges[1:]) / 2.0
    return replace(fitted, satisfaction=np.exp(-loss * (middle - _USUAL_SKIPS)))


@dataclass(frozen=True, slots=False, kw_only=True)
class WeibullReturning(Returning):
    """Gaps of Weibull distributions of `SHAPE`; hours, weekdays and skips play no part.

    A listener of pace 1 has a mean gap as under the fitted hazard, gaps cut at its horizon; others by their paces.

    Args:
        scale_hours: of the distribution at pace 1.
    """

    scale_hours: float

    @classmethod
    def of(cls, fitted: Returning) -> "WeibullReturning":
        """The law whose mean gap is that of a fitted one."""
        mean_hours = 24.0 / float(fitted.sessions_a_day(np.ones(1))[0])
        alike = np.ones_like(fitted.satisfaction)
        return cls(
            recency=fitted.recency, hour=fitted.hour, weekday=fitted.weekday, satisfaction=alike, shape=fitted.shape,
            scale_hours=mean_hours / _MEAN,
        )  # fmt: skip

    def sessions_a_day(self, pace: Float[np.ndarray, " listeners"]) -> Float[np.ndarray, " listeners"]:
        """See `Returning.sessions_a_day`."""
        return 24.0 * pace / (self.scale_hours * _MEAN)

    def draw(
        self,
        pace: Float[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """See `Returning.draw`; everybody comes back."""
        scale = self.scale_hours / np.maximum(pace, 1e-9)
        away = np.maximum(after_us - ended_us, 0) / HOUR_US / scale
        # The cumulative hazard that is reached, from where they are known to have stayed away.
        hours = (away**SHAPE + rng.exponential(size=len(pace))) ** (1.0 / SHAPE) * scale
        gap_us = np.minimum(hours, _LONGEST_HOURS) * HOUR_US
        return np.maximum(ended_us + gap_us.astype(np.int64), np.maximum(after_us, ended_us) + 1)


NOTHING_PLANTED: Final = Plant(satiation=0.0, drift=0.0)


@dataclass(frozen=True, slots=False, kw_only=True)
class Control:
    """A planted world without satiation, whose tastes stay: there is nothing to be gained there by minding either.

    Args:
        plant: what is true.
        seed: of what is listened to before.
    """

    plant: Plant = NOTHING_PLANTED
    seed: int = 0

    @cached_property
    def _lived(self) -> tuple[SessionLog, PlantedListeners]:
        return planted_log(PlantedWorld(self.plant), self.seed)

    @property
    def log(self) -> SessionLog:
        """What was listened to until the worlds begin; a simulator can be fitted to it."""
        return self._lived[0]

    def world(
        self,
        num_listeners: int,
        days: float = 28.0,
        slate_size: int = 10,
        num_candidates: int = 200,
        seed: int = 0,
    ) -> ListeningWorld:
        """Its true listeners after the log, in a world; see `ListeningWorld`."""
        log, there = self._lived
        end_us = there.world.end_us
        space = there.world.space.counted(log.content, int(log.start_us.min()), end_us)
        listeners = PlantedListeners.drawn(there, num_listeners, seed, space)
        return ListeningWorld(listeners, end_us, days, slate_size, num_candidates)
