"""The listeners and times that a simulator is fitted to and checked by: the two share neither listeners nor time."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from towers.data.event_times import shown_time
from towers.errors import UserError
from towers.simulation.listeners.held_out import is_held_out
from towers.simulation.listeners.session_log import SessionLog

FEWEST = 10
"""Fewest held-out listeners with plays before and in the period for which a check is possible."""
EARLIEST_US = np.iinfo(np.int64).min
"""A time before any event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Rule for the listeners that a fit leaves out.

    Args:
        share: share of all listeners, above 0 and below 1.
        seed: seed of their choice.

    Raises:
        UserError: the share is not between 0 and 1.
    """

    share: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"held_out.share={self.share}: must be above 0 and below 1")

    def among(self, user_ids: tuple[str, ...]) -> Bool[np.ndarray, " listeners"]:
        """Returns for each listener whether they are left out."""
        return is_held_out(user_ids, self.share, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Data of a check: held-out listeners, in a period that the fit has not seen.

    Args:
        before: their plays before the period.
        real: their plays in it; rows of listeners as in `before`.
        begin_us: begin of the period, in microseconds since 1970, UTC.
        end_us: exclusive end of the period.
    """

    before: SessionLog
    real: SessionLog
    begin_us: int
    end_us: int


def fitted_part(log: SessionLog, held_out: HeldOut, until_us: int) -> SessionLog:
    """Returns the plays that a fit reads: of other listeners, in sessions that began before `until_us`.

    Args:
        log: plays of all listeners.
        held_out: rule for who is left out.
        until_us: exclusive end of the sessions' beginnings.
    """
    return with_plays(log.of_listeners(~held_out.among(log.user_ids)).between(EARLIEST_US, until_us))


def checked_part(log: SessionLog, held_out: HeldOut, begin_us: int, end_us: int | None) -> Period:
    """Returns the plays that a check reads.

    Args:
        log: plays of all listeners.
        held_out: rule for who is left out of the fit.
        begin_us: begin of the period.
        end_us: exclusive end of the period; null: just after the last play of all.

    Raises:
        UserError: no held-out listener plays in the period, or fewer than `FEWEST` of them played before, too.
    """
    end_us = int(log.start_us.max()) + 1 if end_us is None else end_us
    theirs = log.of_listeners(held_out.among(log.user_ids))
    theirs = with_plays(theirs.between(EARLIEST_US, end_us))
    real = theirs.between(begin_us, end_us)
    if not len(real):
        raise UserError(
            f"store: no held-out listener plays from {shown_time(begin_us)} to {shown_time(end_us)}, so there is "
            "nothing to check by; give a store with later events, or fit with an earlier until"
        )
    before = theirs.between(EARLIEST_US, begin_us)
    number = len(np.intersect1d(before.listener, real.listener))
    if number < FEWEST:
        raise UserError(
            f"store: {number} held-out listeners play both before {shown_time(begin_us)} and from then to "
            f"{shown_time(end_us)}, and a check needs {FEWEST}; fit with a larger held_out.share or an earlier until"
        )
    return Period(before=before, real=real, begin_us=begin_us, end_us=end_us)


def coded_as(log: SessionLog, contexts: tuple[str, ...], devices: tuple[str, ...]) -> SessionLog:
    """Returns the log with contexts and devices encoded by other vocabularies.

    Args:
        log: plays to encode.
        contexts: names of contexts that a simulator knows.
        devices: names of devices that it knows.

    Returns:
        The log, in which unknown contexts and devices are replaced by the most frequent known ones.
    """
    return replace(
        log,
        context=_recoded(log.context, log.contexts, contexts),
        contexts=contexts,
        device=_recoded(log.device, log.devices, devices),
        devices=devices,
    )


def _recoded(
    code: Int[np.ndarray, " plays"], names: tuple[str, ...], known: tuple[str, ...]
) -> Int[np.ndarray, " plays"]:
    place = {name: number for number, name in enumerate(known)}
    found = np.array([place.get(name, -1) for name in names], np.int64)[code]
    most = int(np.bincount(found[found >= 0], minlength=1).argmax())
    return np.where(found >= 0, found, most)


def with_plays(log: SessionLog) -> SessionLog:
    """Returns the log without listeners who have no play."""
    return log.of_listeners(np.bincount(log.listener, minlength=len(log.user_ids)) > 0)
