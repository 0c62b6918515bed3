"""How a session runs: where and on what it is played, how long the pauses are, and when it is left."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.special import digamma

from towers.simulation.listeners import features
from towers.simulation.listeners.logistic import MixedLogistic, fit_mixed_logistic
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.state import ListenerState

_PAUSES: Final = 101


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How often listeners are somewhere, by a Dirichlet prior whose mean is the population's.

    Args:
        prior: `[codes]`, sessions that speak for each code before any of the listener's own.
    """

    prior: Float[np.ndarray, " codes"]

    def of_counts(self, counts: Float[np.ndarray, "listeners codes"]) -> Float[np.ndarray, "listeners codes"]:
        """The chance of each code for listeners who were there so often."""
        total = counts + self.prior
        return total / total.sum(axis=1, keepdims=True)


def fit_habits(
    counts: Float[np.ndarray, "listeners codes"], listener_weights: Float[np.ndarray, " listeners"]
) -> Habits:
    """The Dirichlet prior by fixed-point steps to the maximum of the likelihood (Minka 2000, "Estimating a Dirichlet
    distribution", eq. 65)."""
    rows = counts.sum(axis=1) > 0
    counts, weights = counts[rows], listener_weights[rows]
    share = weights @ counts / max(float((weights @ counts).sum()), 1e-9)
    prior = np.maximum(share, 1e-4) * 5.0
    for _ in range(100):
        above = weights @ (digamma(counts + prior) - digamma(prior))
        below = float(weights @ (digamma(counts.sum(axis=1) + prior.sum()) - digamma(prior.sum())))
        prior = np.clip(prior * above / max(below, 1e-12), 1e-4, 1e4)
    return Habits(prior=prior)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The fitted course of sessions.

    Args:
        leaving: chance that a session ends after a play; reads `leave_features`.
        contexts: where sessions are played.
        devices: on what they are played.
        pauses: `[quantiles]`, seconds from a play's end to the next one's begin in a session, at even steps
            from 0 to 1.
    """

    leaving: MixedLogistic
    contexts: Habits
    devices: Habits
    pauses: Float[np.ndarray, " quantiles"]

    def draw_pause_us(self, number: int, rng: np.random.Generator) -> Int[np.ndarray, " number"]:
        """Microseconds between a play's end and the next one's begin."""
        steps = np.linspace(0.0, 1.0, len(self.pauses))
        return (np.interp(rng.random(number), steps, self.pauses) * 1e6).astype(np.int64)

    def facts(self) -> dict[str, Any]:
        """Its parameters by name, for a file."""
        return {
            "leaving": self.leaving.facts(), "contexts": self.contexts.prior, "devices": self.devices.prior,
            "pauses": self.pauses,
        }  # fmt: skip

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> "Sessions":
        """What `facts` made."""
        return cls(
            leaving=MixedLogistic(**facts["leaving"]), contexts=Habits(prior=facts["contexts"]),
            devices=Habits(prior=facts["devices"]), pauses=facts["pauses"],
        )  # fmt: skip


def leave_features(
    state: ListenerState, rows: Integer[np.ndarray, " some"], num_contexts: int
) -> Float[np.ndarray, "some features"]:
    """What the chance of leaving after a play reads, float32: the moment, plays so far, skips in a row, the context."""
    position = state.position[rows, None]
    steps = position == np.arange(1, 6)
    contexts = state.context[rows, None] == np.arange(num_contexts - 1)
    late = np.maximum(position - np.array([10, 20, 40]), 0) / 10.0
    # One by one, too: some give up after so many skips in a row.
    streak = state.streak[rows, None] >= np.arange(2, 7)
    return np.concatenate([features.of_moment(state, rows), steps, late, streak, contexts], axis=1, dtype=np.float32)


def fit_sessions(
    log: SessionLog,
    after: Float[np.ndarray, "plays features"],
    listener_weights: Float[np.ndarray, " listeners"],
    pauses: Float[np.ndarray, " quantiles"],
    start: Sessions | None = None,
) -> Sessions:
    """Fits the course of sessions.

    Args:
        log: plays.
        after: `leave_features` after each play.
        listener_weights: see `fit_mixed_logistic`.
        pauses: of `pauses_of`.
        start: an earlier fit to nearly the same plays.
    """
    is_last = np.append(log.session[1:] != log.session[:-1], True)
    leaving = fit_mixed_logistic(after, is_last, log.listener, listener_weights, start.leaving if start else None)
    begins = log.session_begins
    return Sessions(
        leaving=leaving,
        contexts=fit_habits(
            counts_of(log.listener[begins], log.context[begins], log, len(log.contexts)), listener_weights
        ),
        devices=fit_habits(
            counts_of(log.listener[begins], log.device[begins], log, len(log.devices)), listener_weights
        ),
        pauses=pauses,
    )


def counts_of(
    listener: Integer[np.ndarray, " sessions"], code: Integer[np.ndarray, " sessions"], log: SessionLog, number: int
) -> Float[np.ndarray, "listeners codes"]:
    """How many sessions of each listener have each code."""
    flat = np.bincount(listener * number + code, minlength=len(log.user_ids) * number)
    return flat.reshape(-1, number).astype(float)


def pauses_of(log: SessionLog, ended_us: Integer[np.ndarray, " plays"]) -> Float[np.ndarray, " quantiles"]:
    """Quantiles of the seconds between plays of a session, at even steps; 0 where the clock runs backwards."""
    inside = log.session[1:] == log.session[:-1]
    seconds = (log.start_us[1:] - ended_us[:-1])[inside] / 1e6
    return np.quantile(np.maximum(seconds, 0.0), np.linspace(0.0, 1.0, _PAUSES)) if len(seconds) else np.ones(_PAUSES)
