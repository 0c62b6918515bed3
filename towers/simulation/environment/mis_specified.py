"""Mis-specified worlds: what an agent trained in a fitted simulator may meet elsewhere.

Each is a fitted model with one change, so that `make_world` takes it like any other.
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
"""Names of the changes: satiation half and twice as strong; Weibull gaps between sessions, independent of hour and
skips; listeners who come back later the more of the last session they skipped; tastes that follow plays faster."""
STATED_SATIATION: Final = 0.3
"""Increase of the log-odds of a skip for each faded play of a content's region, used where the fitted increase is below
`_HARDLY`: half or twice as much is then added to the fitted one, itself halved or doubled."""
_HARDLY: Final = 0.05
SLOW_FASTER, FAST_FASTER = 4.0, 2.0
"""Factors on the fitted rates of the slow and the fast taste."""
_MOST_RATE: Final = 0.8
_USUAL_SKIPS: Final = 0.35
_LONGEST_HOURS: Final = 1e6
_MEAN: Final = float(gamma(1.0 + 1.0 / SHAPE))
"""Mean of a Weibull distribution of `SHAPE` and scale 1."""


def mis_specified(model: ListenerModel, name: str) -> ListenerModel:
    """Returns the model with one change.

    Args:
        model: fitted model.
        name: one of `NAMES`.

    Raises:
        UserError: the name is not one of them.
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
    """Returns a simulator with one change in all of its models (`mis_specified`), for `make_world` with a log.

    The memory of the log's listeners is then computed by the changed model, too.
    """
    members = tuple(mis_specified(member, name) for member in simulator.members)
    return replace(simulator, central=mis_specified(simulator.central, name), members=members)


def with_satiation(fitted: Response, factor: float) -> Response:
    """Returns a response with all effects of satiation scaled, about their mean in the log, so that mean satisfaction
    stays the same.

    Where hardly any satiation was fitted, `factor * STATED_SATIATION` is added to the log-odds of a skip per unit.
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
    """Returns a hazard whose logarithm falls by `loss` between sessions of no and of only skips; all else stays."""
    edges = np.array([0.0, *SKIP_SHARES, 1.0])
    middle = (edges[:-1] + edges[1:]) / 2.0
    return replace(fitted, satisfaction=np.exp(-loss * (middle - _USUAL_SKIPS)))


@dataclass(frozen=True, slots=False, kw_only=True)
class WeibullReturning(Returning):
    """Weibull gaps of shape `SHAPE` between sessions, independent of hours, weekdays and skips.

    A listener of pace 1 has the mean gap of the fitted hazard, with gaps cut at its horizon; others scale with pace.

    Args:
        scale_hours: scale of the distribution at pace 1.
    """

    scale_hours: float

    @classmethod
    def of(cls, fitted: Returning) -> "WeibullReturning":
        """Returns the distribution with the mean gap of a fitted hazard."""
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
        """See `Returning.draw`; every listener comes back."""
        scale = self.scale_hours / np.maximum(pace, 1e-9)
        away = np.maximum(after_us - ended_us, 0) / HOUR_US / scale
        # Cumulative hazard at the return, beyond the time that they are known to have been away.
        hours = (away**SHAPE + rng.exponential(size=len(pace))) ** (1.0 / SHAPE) * scale
        gap_us = np.minimum(hours, _LONGEST_HOURS) * HOUR_US
        return np.maximum(ended_us + gap_us.astype(np.int64), np.maximum(after_us, ended_us) + 1)


NOTHING_PLANTED: Final = Plant(satiation=0.0, drift=0.0)


@dataclass(frozen=True, slots=False, kw_only=True)
class Control:
    """A planted world without satiation and with constant tastes, where attention to either gains nothing.

    Args:
        plant: true parameters.
        seed: seed of the listening before the worlds begin.
    """

    plant: Plant = NOTHING_PLANTED
    seed: int = 0

    @cached_property
    def _lived(self) -> tuple[SessionLog, PlantedListeners]:
        return planted_log(PlantedWorld(self.plant), self.seed)

    @property
    def log(self) -> SessionLog:
        """Listening until the worlds begin; a simulator can be fitted to it."""
        return self._lived[0]

    def world(
        self,
        num_listeners: int,
        days: float = 28.0,
        slate_size: int = 10,
        num_candidates: int = 200,
        seed: int = 0,
    ) -> ListeningWorld:
        """Returns a world of the true listeners after the log; see `ListeningWorld`."""
        log, there = self._lived
        end_us = there.world.end_us
        space = there.world.space.counted(log.content, int(log.start_us.min()), end_us)
        listeners = PlantedListeners.drawn(there, num_listeners, seed, space)
        return ListeningWorld(listeners, end_us, days, slate_size, num_candidates)
