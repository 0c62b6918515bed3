"""Simulation of listeners of a log who go on listening by a simulator, from their state at some time."""

from dataclasses import dataclass
from math import isnan
from typing import Final

import numpy as np

from towers.contract.durations import DAY_US
from towers.data.event_times import shown_time
from towers.errors import UserError
from towers.lifecycle.simulator.parts import EARLIEST_US, coded_as, with_plays
from towers.policies.bandit.uniform import Uniform
from towers.simulation.environment.home_shelf import HomeShelf, Pages
from towers.simulation.environment.picking import OWN_PULL
from towers.simulation.listeners.live import Listeners, population_of
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.rollout import lived
from towers.simulation.listeners.session_log import SessionLog

SHELF: Final = "home"
"""Name of the shelf in the log."""
POLICY_ID: Final = "uniform"
"""Name in the log of the policy that chooses the shelf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What listeners are shown at the first play of a session: a shelf of contents, drawn uniformly from candidates.

    Args:
        slate: number of contents; 0: they are shown nothing, and choose for themselves.
        candidates: number of candidates of a listener; at least as many.
        contexts: names of the contexts of these sessions.
        own_pull: logarithm of the number of average contents that weigh as much as the listener's own choice
            (`picking.picked`).

    Raises:
        UserError: an invalid number; the message names the key.
    """

    slate: int = 10
    candidates: int = 200
    contexts: tuple[str, ...] = ("home",)
    own_pull: float = OWN_PULL

    def __post_init__(self) -> None:
        if self.slate < 0:
            raise UserError(f"run.slate={self.slate}: must be 0 or more")
        if self.slate and self.candidates < self.slate:
            raise UserError(f"run.candidates={self.candidates}: must be at least run.slate={self.slate}")
        if isnan(self.own_pull):
            raise UserError(f"run.own_pull={self.own_pull}: must be a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Settings of a simulation: listeners, period, and model.

    Args:
        days: length of the simulated period.
        listeners: number of listeners, drawn from all who have played before; null: all of them.
        begin_us: begin of the period, in microseconds since 1970, UTC; null: just after the last play of the log.
        member: number of the model of the ensemble, from 0; null: the model fitted to all listeners.
        seed: seed of the choice of listeners, of what they are shown and of what they do.
        offer: what they are shown.

    Raises:
        UserError: a number is too small; the message names the key.
    """

    days: float
    listeners: int | None
    begin_us: int | None
    member: int | None
    seed: int
    offer: Offer

    def __post_init__(self) -> None:
        if not self.days > 0:
            raise UserError(f"run.days={self.days:g}: must be above 0")
        if self.listeners is not None and self.listeners < 1:
            raise UserError(f"run.listeners={self.listeners}: must be at least 1, or null for all")
        for key in ("member", "seed"):
            if (getattr(self, key) or 0) < 0:
                raise UserError(f"run.{key}={getattr(self, key)}: must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Result of a simulation.

    Args:
        before: real plays of the simulated listeners before.
        log: their plays in the simulated period; rows of listeners as in `before`.
        begin_us: begin of the period.
        end_us: exclusive end of the period.
        pages: pages that they were shown; null: none are shown, or the simulator knows none of these contexts.
    """

    before: SessionLog
    log: SessionLog
    pages: Pages | None
    begin_us: int
    end_us: int


def simulate(simulator: Simulator, log: SessionLog, run: Run) -> Simulated:
    """Lets listeners go on listening.

    Args:
        simulator: fitted simulator.
        log: plays of all listeners, in the simulator's space.
        run: settings of the simulation.

    Raises:
        UserError: a model that the simulator does not have, more listeners than have played before, or none.
    """
    number = len(simulator.members)
    if run.member is not None and run.member >= number:
        raise UserError(f"run.member={run.member}: must be below {number}, the number of models, or null")
    model = simulator.central if run.member is None else simulator.members[run.member]
    begin_us = int(log.start_us.max()) + 1 if run.begin_us is None else run.begin_us
    before = with_plays(coded_as(log, simulator.contexts, simulator.devices).between(EARLIEST_US, begin_us))
    number = len(before.user_ids)
    if not number:
        raise UserError(f"run.from={shown_time(begin_us)}: no listener has played before; give a later time")
    if run.listeners is not None:
        if run.listeners > number:
            raise UserError(f"run.listeners={run.listeners}: only {number:,} have played before; null takes them all")
        drawn = np.random.default_rng([run.seed, 0]).permutation(number)[: run.listeners]
        before = before.of_listeners(np.isin(np.arange(number), drawn))
    end_us = begin_us + round(run.days * DAY_US)
    listeners = Listeners(model, population_of(model, simulator.space, before, begin_us), run.seed)
    shelf = _shelf(listeners, run, before.contexts)
    names = before.user_ids, before.contexts, before.devices
    heard = lived(listeners, begin_us, end_us, *names, None if shelf is None else shelf.choose)
    pages = None if shelf is None else shelf.pages(heard)
    return Simulated(before=before, log=heard, pages=pages, begin_us=begin_us, end_us=end_us)


def _shelf(listeners: Listeners, run: Run, contexts: tuple[str, ...]) -> HomeShelf | None:
    """Builds the shelves that listeners are shown; null where none are shown."""
    offer = run.offer
    codes = [code for code, name in enumerate(contexts) if name in offer.contexts]
    if not offer.slate or not codes:
        return None
    policy = Uniform(slots=offer.slate, shelf=SHELF, policy_id=POLICY_ID)
    generator = np.random.default_rng([run.seed, 1])
    return HomeShelf(listeners, policy, offer.candidates, codes, offer.own_pull, generator)
