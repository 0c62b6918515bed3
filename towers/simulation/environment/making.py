"""Makes a world of listeners from a fitted simulator."""

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
"""New contents that a listener weighs in an own choice; `Choosing.draw_new` weighs a sample of so many."""


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
    """Makes a world with the listeners of a fitted simulator; `reset` starts their episodes.

    Args:
        simulator: fitted simulator, or the folder of a version, such as simulators/listeners/current.
        num_listeners: number of listeners, drawn from the population, with replacement where it has fewer.
        log: plays before the simulator's end, whose listeners are the population.
        population: population to use instead of a log; where both are None, new listeners without plays, with traits
            drawn from the population that the simulator was fitted to.
        member: member of the ensemble; None: the model fitted to all listeners.
        days: length of an episode.
        slate_size: number of contents of a slate.
        num_candidates: number of candidates of a listener.
        own_pull: see `ListeningWorld`.
        own_candidates: new contents that a listener weighs in an own choice.
        seed: seed of all random draws.
        force: whether to accept a version that was not checked or misses a limit of its check.

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
    """Returns a member of a simulator's ensemble, or the central model for None.

    Raises:
        UserError: there is no such member.
    """
    if member is None:
        return simulator.central
    if not 0 <= member < len(simulator.members):
        raise UserError(f"member={member}: the simulator has {len(simulator.members)} members, numbered from 0")
    return simulator.members[member]


def with_own_candidates(model: ListenerModel, number: int) -> ListenerModel:
    """Returns the model with another number of new contents weighed in an own choice."""
    return replace(model, choosing=replace(model.choosing, max_candidates=number))


def _population(simulator: Simulator, model: ListenerModel, num_listeners: int, log: SessionLog | None) -> Population:
    if log is None:
        names = simulator.contexts, simulator.devices
        return new_population(model, simulator.space, *names, num_listeners, simulator.until_us)
    before = log.between(0, simulator.until_us)
    heard = np.bincount(before.listener, minlength=len(before.user_ids)) > 0
    if not heard.any():
        raise UserError("log= holds no plays before the simulator's end, so it has no listeners to continue with")
    return population_of(model, simulator.space, before.of_listeners(heard), simulator.until_us)
