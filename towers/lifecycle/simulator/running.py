"""Listeners of a log who go on listening as a simulator has it, from their state at some time."""

from dataclasses import dataclass

import numpy as np

from towers.data.event_times import shown_time
from towers.errors import UserError
from towers.lifecycle.simulator.parts import EARLIEST_US, coded_as, with_plays
from towers.simulation.listeners.model import Simulator
from towers.simulation.listeners.rollout import listen
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import DAY_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Who is simulated, when, and by which of the models.

    Args:
        days: length of the simulated period.
        listeners: number of listeners, drawn from all who have played before; null: all of them.
        begin_us: when it begins, microseconds since 1970, UTC; null: behind the last play of the log.
        member: which model of the ensemble, from 0; null: the one that is fitted to all listeners.
        seed: of who is drawn and of what they do.

    Raises:
        UserError: a number below the least that it can be; names the key.
    """

    days: float
    listeners: int | None
    begin_us: int | None
    member: int | None
    seed: int

    def __post_init__(self) -> None:
        if not self.days > 0:
            raise UserError(f"run.days={self.days:g}: must be above 0")
        if self.listeners is not None and self.listeners < 1:
            raise UserError(f"run.listeners={self.listeners}: must be at least 1, or null for everybody")
        for key in ("member", "seed"):
            if (getattr(self, key) or 0) < 0:
                raise UserError(f"run.{key}={getattr(self, key)}: must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What came of a run.

    Args:
        before: what the simulated listeners really played before.
        log: what they play in the simulated period; rows of listeners as in `before`.
        begin_us: when that begins.
        end_us: behind its end.
    """

    before: SessionLog
    log: SessionLog
    begin_us: int
    end_us: int


def simulate(simulator: Simulator, log: SessionLog, run: Run) -> Simulated:
    """Lets listeners go on.

    Args:
        simulator: fitted.
        log: of everybody, on the simulator's space.
        run: who and when.

    Raises:
        UserError: a model that the simulator does not have, more listeners than have played before, or none.
    """
    number = len(simulator.members)
    if run.member is not None and run.member >= number:
        raise UserError(f"run.member={run.member}: must be below {number}, the number of models; null: the one of all")
    model = simulator.central if run.member is None else simulator.members[run.member]
    begin_us = int(log.start_us.max()) + 1 if run.begin_us is None else run.begin_us
    before = with_plays(coded_as(log, simulator.contexts, simulator.devices).between(EARLIEST_US, begin_us))
    number = len(before.user_ids)
    if not number:
        raise UserError(f"run.from={shown_time(begin_us)}: nobody has played before; give a later time")
    if run.listeners is not None:
        if run.listeners > number:
            raise UserError(f"run.listeners={run.listeners}: only {number:,} have played before; null takes them all")
        drawn = np.random.default_rng([run.seed, 0]).permutation(number)[: run.listeners]
        before = before.of_listeners(np.isin(np.arange(number), drawn))
    end_us = begin_us + round(run.days * DAY_US)
    heard = listen(model, simulator.space, before, begin_us, end_us, run.seed)
    return Simulated(before=before, log=heard, begin_us=begin_us, end_us=end_us)
