"""The time of a listener's return: the hazard of the next session, by time since the last, hour and day of the week.

`hazard = pace of the listener x recency(hours since the last session) x hour of the day x day of the week x
satisfaction(share of the last session's plays that were skipped)`, in sessions an hour, constant within an hour of the
clock. A listener's pace is gamma distributed with mean 1: a shared frailty, whose posterior is again a gamma
distribution (Vaupel, Manton and Stallard 1979, "The impact of heterogeneity in individual frailty on the dynamics of
mortality").
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int, Integer, Real

from towers.contract.durations import HOUR_US
from towers.simulation.listeners.frailty import gamma_shape
from towers.simulation.listeners.session_log import SKIP, SessionLog

_WEEK: Final = 168
EDGES: Final = (0, 1, 2, 4, 8, 16, 24, 36, 48, 72, 96, 120, 168, 240, 336, 504, 720)
"""Clock hours since the end of the last session at which the hazard may change."""
SKIP_SHARES: Final = (0.15, 0.35, 0.55, 0.75)
"""Skipped shares of the last session's plays at which the hazard changes."""
_HORIZON_HOURS: Final = 2400
"""Hours away after which a listener counts as gone: a hundred days."""
_ROUNDS: Final = 25
_MAX_LISTENERS: Final = 2_000
"""Maximum number of listeners that the hazard's factors are fitted to; paces are fitted for all listeners."""


@dataclass(frozen=True, slots=False, kw_only=True)
class Returning:
    """The fitted hazard.

    Args:
        recency: `[steps]`, sessions an hour by the steps of `EDGES`, for a listener of pace 1.
        hour: `[24]`, factors of the hours of the day, UTC, with mean 1.
        weekday: `[7]`, factors of the days of the week from Monday, with mean 1.
        satisfaction: `[bins]`, factors by the skipped share of the last session's plays, in the bins between
            `SKIP_SHARES`, with mean 1 over sessions.
        shape: shape of the gamma distribution of paces, whose mean is 1.
    """

    recency: Float[np.ndarray, " steps"]
    hour: Float[np.ndarray, " 24"]
    weekday: Float[np.ndarray, " 7"]
    satisfaction: Float[np.ndarray, " bins"]
    shape: float

    def keenness(self, skip_share: Float[np.ndarray, " gaps"]) -> Float[np.ndarray, " gaps"]:
        """Returns the factor of the hazard for the skipped share of the last session's plays."""
        return self.satisfaction[_bin(skip_share)]

    @cached_property
    def _of_week(self) -> Float[np.ndarray, " 168"]:
        return (self.weekday[:, None] * self.hour).ravel()

    @cached_property
    def cumulative(self) -> Float[np.ndarray, "168 hours"]:
        """Cumulative hazard up to each hour after a session, by the hour of the week in which it ended."""
        elapsed = np.arange(_HORIZON_HOURS)
        rates = self.recency[_step(elapsed)] * self._of_week[(np.arange(_WEEK)[:, None] + elapsed) % _WEEK]
        return np.concatenate([np.zeros((_WEEK, 1)), rates.cumsum(axis=1)], axis=1)

    @cached_property
    def _gaps(self) -> tuple[Float[np.ndarray, " paces"], Float[np.ndarray, " paces"]]:
        paces = np.geomspace(1e-3, 1e2, 101)
        return paces, np.exp(-paces[:, None] * self.cumulative.mean(axis=0)[:-1]).sum(axis=1)

    def sessions_a_day(self, pace: Float[np.ndarray, " listeners"]) -> Float[np.ndarray, " listeners"]:
        """Returns the long-run number of sessions a day of listeners of a pace, averaged over hours; one who stays away
        for `_HORIZON_HOURS` counts as coming then."""
        paces, hours = self._gaps
        return 24.0 / np.interp(np.log(np.clip(pace, paces[0], paces[-1])), np.log(paces), hours)

    def posterior(
        self, num_sessions: Real[np.ndarray, " listeners"], exposure: Float[np.ndarray, " listeners"]
    ) -> tuple[Float[np.ndarray, " listeners"], Float[np.ndarray, " listeners"]]:
        """Returns shape and rate of the gamma posterior of each listener's pace.

        Args:
            num_sessions: number of returns of each listener.
            exposure: cumulative hazard at pace 1 over the hours in which they might have returned (`exposure_of` times
                `keenness`).
        """
        return self.shape + num_sessions, self.shape + exposure

    def exposure_of(
        self, ended_us: Integer[np.ndarray, " gaps"], until_us: Integer[np.ndarray, " gaps"]
    ) -> Float[np.ndarray, " gaps"]:
        """Returns the cumulative hazard at pace 1 and keenness 1 from the end of a session until a time."""
        return self._summed(ended_us, np.maximum(until_us, ended_us)) - self._summed(ended_us, ended_us)

    def _summed(
        self, ended_us: Integer[np.ndarray, " gaps"], until_us: Integer[np.ndarray, " gaps"]
    ) -> Float[np.ndarray, " gaps"]:
        """Returns the cumulative hazard from the start of the hour in which the session ended."""
        phase, hours = _phase(ended_us), np.maximum(until_us - ended_us // HOUR_US * HOUR_US, 0) / HOUR_US
        whole = np.minimum(hours.astype(int), _HORIZON_HOURS - 1)
        table = self.cumulative
        return table[phase, whole] + (hours - whole).clip(0, 1) * (table[phase, whole + 1] - table[phase, whole])

    def draw(
        self,
        pace: Float[np.ndarray, " gaps"],
        ended_us: Integer[np.ndarray, " gaps"],
        after_us: Integer[np.ndarray, " gaps"],
        rng: np.random.Generator,
    ) -> Int[np.ndarray, " gaps"]:
        """Draws when each listener comes back, microseconds; the largest integer for never.

        Args:
            pace: pace of the listeners, times their keenness.
            ended_us: end of their last sessions.
            after_us: time until which they are known to have stayed away.
            rng: generator of the draws.
        """
        done = self._summed(ended_us, np.maximum(after_us, ended_us))
        wanted = done + rng.exponential(size=len(pace)) / np.maximum(pace, 1e-9)
        phase, table = _phase(ended_us), self.cumulative
        low, high = np.zeros(len(pace), int), np.full(len(pace), _HORIZON_HOURS)
        for _ in range(int(np.ceil(np.log2(_HORIZON_HOURS))) + 1):
            middle = (low + high) // 2
            is_below = table[phase, np.minimum(middle + 1, _HORIZON_HOURS)] < wanted
            low, high = np.where(is_below, np.minimum(middle + 1, high), low), np.where(is_below, high, middle)
        hour = np.minimum(low, _HORIZON_HOURS - 1)
        rate = np.maximum(table[phase, hour + 1] - table[phase, hour], 1e-12)
        at = hour + ((wanted - table[phase, hour]) / rate).clip(0, 1)
        start_us = ended_us // HOUR_US * HOUR_US + (at * HOUR_US).astype(np.int64)
        never = wanted > table[phase, -1]
        return np.where(never, np.iinfo(np.int64).max, np.maximum(start_us, np.maximum(after_us, ended_us) + 1))

    def facts(self) -> dict[str, Any]:
        """Returns the parameters by name, for a file."""
        return {name: getattr(self, name) for name in ("recency", "hour", "weekday", "satisfaction", "shape")}


def fit_returning(
    listener: Integer[np.ndarray, " gaps"],
    ended_us: Integer[np.ndarray, " gaps"],
    until_us: Integer[np.ndarray, " gaps"],
    came_back: Integer[np.ndarray, " gaps"],
    skip_share: Float[np.ndarray, " gaps"],
    listener_weights: Float[np.ndarray, " listeners"],
) -> Returning:
    """Fits the hazard to gaps between sessions by maximum likelihood, each factor in turn (Poisson regression).

    Args:
        listener: row of the listener.
        ended_us: end of a session.
        until_us: start of the next one, or end of the log.
        came_back: 1 where a next session began, 0 where the log ended first.
        skip_share: skipped share of the session's plays.
        listener_weights: weight of each listener.
    """
    num_listeners = len(listener_weights)
    told = listener < _MAX_LISTENERS if num_listeners > _MAX_LISTENERS else np.ones(len(listener), bool)
    begin = ended_us // HOUR_US
    hours = np.clip(until_us // HOUR_US - begin, 0, _HORIZON_HOURS - 1)
    cells = hours[told] + 1
    gap = np.repeat(np.flatnonzero(told), cells)
    elapsed = np.arange(len(gap)) - np.repeat(np.cumsum(cells) - cells, cells)
    clock = begin[gap] + elapsed
    is_last = elapsed == hours[gap]
    # The first and the last hour are only partly exposed.
    share = np.where(is_last, (until_us[gap] % HOUR_US) / HOUR_US, 1.0)
    share = np.clip(share - np.where(elapsed == 0, (ended_us[gap] % HOUR_US) / HOUR_US, 0.0), 1e-3, 1.0)
    step, hour, weekday, share_bin = _step(elapsed), clock % 24, (clock // 24 + 3) % 7, _bin(skip_share)[gap]
    weight = listener_weights[listener[gap]]
    exposed, happened = share * weight, weight * (is_last & (came_back[gap] == 1))
    factors = {"hour": np.ones(24), "weekday": np.ones(7), "satisfaction": np.ones(len(SKIP_SHARES) + 1)}
    returning = Returning(recency=np.full(len(EDGES), 0.01), **factors, shape=1.0)
    pace = np.ones(num_listeners)
    sessions = np.bincount(listener, came_back, num_listeners)
    sessions_of_bin = np.bincount(_bin(skip_share), listener_weights[listener], len(SKIP_SHARES) + 1)
    for _ in range(_ROUNDS):
        base, keen = exposed * pace[listener[gap]], returning.satisfaction[share_bin]
        rest = base * keen * returning.hour[hour] * returning.weekday[weekday]
        recency = _ratio(step, happened, rest, len(EDGES), 0.5)
        by_hour = _ratio(hour, happened, base * keen * recency[step] * returning.weekday[weekday], 24, 2.0)
        by_day = _ratio(weekday, happened, base * keen * recency[step] * by_hour[hour], 7, 20.0)
        by_hour, by_day = by_hour / by_hour.mean(), by_day / by_day.mean()
        base = base * by_hour[hour] * by_day[weekday]
        satisfaction = _ratio(share_bin, happened, base * recency[step], len(SKIP_SHARES) + 1, 20.0)
        satisfaction = satisfaction / np.average(satisfaction, weights=sessions_of_bin + 1e-9)
        recency = _ratio(step, happened, base * satisfaction[share_bin], len(EDGES), 0.5)
        returning = Returning(
            recency=recency, hour=by_hour, weekday=by_day, satisfaction=satisfaction, shape=returning.shape
        )
        exposure = returning.exposure_of(ended_us, until_us) * returning.keenness(skip_share)
        exposure = np.bincount(listener, exposure, num_listeners)
        returning = replace(returning, shape=gamma_shape(sessions, exposure, listener_weights))
        pace = np.divide(*returning.posterior(sessions, exposure))
        pace /= np.average(pace, weights=listener_weights)
    return returning


def gaps_of(
    log: SessionLog, ended_us: np.ndarray, until_us: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns for every session the listener, its end, the start of the next or `until_us`, whether there was a
    next, and the share of skips."""
    begins = log.session_begins
    listener, last = log.listener[begins], begins + log.session_lengths - 1
    ended = ended_us[last]
    same = np.append(listener[1:] == listener[:-1], False)
    until = np.where(same, np.append(log.start_us[begins][1:], 0), until_us)
    # Sessions on two devices may overlap.
    skip_share = np.add.reduceat(log.outcome == SKIP, begins, dtype=float) / log.session_lengths
    return listener, ended, np.maximum(until, ended + 1), same.astype(int), skip_share


def _ratio(code: np.ndarray, happened: np.ndarray, expected: np.ndarray, number: int, prior: float) -> np.ndarray:
    """Returns observed over expected events by code, with `prior` events added at the mean ratio."""
    events, exposure = np.bincount(code, happened, number), np.bincount(code, expected, number)
    mean = events.sum() / max(exposure.sum(), 1e-9)
    return np.maximum((events + prior) / (exposure + prior / max(mean, 1e-9)), 1e-9)


def _step(elapsed_hours: Integer[np.ndarray, "*cells"]) -> Int[np.ndarray, "*cells"]:
    return np.searchsorted(EDGES, elapsed_hours, "right") - 1


def _bin(skip_share: Float[np.ndarray, " gaps"]) -> Int[np.ndarray, " gaps"]:
    return np.searchsorted(SKIP_SHARES, skip_share, "right")


def _phase(time_us: Integer[np.ndarray, " gaps"]) -> Int[np.ndarray, " gaps"]:
    # Hour of the week from Monday; 1970 began on a Thursday.
    return (time_us // HOUR_US + 72) % _WEEK
