"""Makes a world of listeners from what a fit wrote."""

from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from towers.errors import UserError
from towers.simulation.checks.verdict import require_checked
from towers.simulation.environment.picking import OWN_PULL
from towers.simulation.environment.world import ListeningWorld
from towers.simulation.listeners.live import Listeners, Population, new_population, population_of
from towers.simulation.listeners.model import MODEL, ListenerModel, Simulator
from towers.simulation.listeners.session_log import SessionLog

OWN_CANDIDATES = 300
"""New contents that a listener weighs when they put something on themselves; `Choosing.draw_new` weighs a sample."""


def make_world(
    simulator: Simulator | str | PathLike[str],
    num_listeners: int,
    *,
    log: SessionLog | None = None,
    population: Population | None = None,
    member: int | None = None,
    days: float = 28.0,
    slate_size: int = 10,
    num_candidates: int = 200,
    own_pull: float = OWN_PULL,
    own_candidates: int = OWN_CANDIDATES,
    seed: int = 0,
    force: bool = False,
) -> ListeningWorld:
    """Listeners of a fitted simulator in a world; `reset` lets them in.

    Args:
        simulator: fitted, or the folder of a version, such as simulators/listeners/current.
        num_listeners: of the world; drawn from the population, with replacement where it has fewer.
        log: plays before the simulator's end, by whom the population is who listened there.
        population: who they are, instead of a log; where both are None, listeners of whom nothing is known, with
            traits of the population that the simulator was fitted to.
        member: of the ensemble; the model fitted to all listeners if it is None.
        days: of an episode.
        slate_size: contents of a slate.
        num_candidates: of a listener.
        own_pull: see `ListeningWorld`.
        own_candidates: new contents that a listener weighs when they put something on themselves.
        seed: of all that is drawn.
        force: whether a version is taken that was not checked or misses a limit of its check.

    Raises:
        UserError: there is no such simulator or member, it did not pass its check, or both a log and a population are
            given.
    """
    if not isinstance(simulator, Simulator):
        simulator = _checked(Path(simulator), force)
    model = with_own_candidates(model_of(simulator, member), own_candidates)
    if population is None:
        population = _population(simulator, model, num_listeners, log)
    elif log is not None:
        raise UserError("a world takes log= or population=, not both")
    listeners = Listeners.drawn(model, population, num_listeners, seed)
    return ListeningWorld(listeners, simulator.until_us, days, slate_size, num_candidates, own_pull)


def _checked(folder: Path, force: bool) -> Simulator:
    found = Simulator.read(folder / MODEL)
    require_checked(folder, force)
    return found


def model_of(simulator: Simulator, member: int | None) -> ListenerModel:
    """One of a simulator's models.

    Raises:
        UserError: it has no such member.
    """
    if member is None:
        return simulator.central
    if not 0 <= member < len(simulator.members):
        raise UserError(f"member={member}: the simulator has {len(simulator.members)} members, from 0")
    return simulator.members[member]


def with_own_candidates(model: ListenerModel, number: int) -> ListenerModel:
    """The model with another number of new contents that are weighed in an own choice."""
    return replace(model, choosing=replace(model.choosing, max_candidates=number))


def _population(simulator: Simulator, model: ListenerModel, num_listeners: int, log: SessionLog | None) -> Population:
    if log is None:
        names = simulator.contexts, simulator.devices
        return new_population(model, simulator.space, *names, num_listeners, simulator.until_us)
    before = log.between(0, simulator.until_us)
    heard = np.bincount(before.listener, minlength=len(before.user_ids)) > 0
    if not heard.any():
        raise UserError("log= holds no plays before the simulator's end, so it has no listeners to go on with")
    return population_of(model, simulator.space, before.of_listeners(heard), simulator.until_us)
