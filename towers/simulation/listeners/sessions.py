"""The course of a session: context and device, pauses, and when it is left."""

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
    """Frequencies of listeners' contexts or devices, with a Dirichlet prior whose mean is the population's.

    Args:
        prior: `[codes]`, prior number of sessions of each code.
    """

    prior: Float[np.ndarray, " codes"]

    def of_counts(self, counts: Float[np.ndarray, "listeners codes"]) -> Float[np.ndarray, "listeners codes"]:
        """Returns the chance of each code for listeners with these numbers of sessions."""
        total = counts + self.prior
        return total / total.sum(axis=1, keepdims=True)


def fit_habits(
    counts: Float[np.ndarray, "listeners codes"], listener_weights: Float[np.ndarray, " listeners"]
) -> Habits:
    """Fits the Dirichlet prior by fixed-point steps to the maximum of the likelihood (Minka 2000, "Estimating a
    Dirichlet distribution", eq. 65)."""
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
        contexts: contexts of sessions.
        devices: devices of sessions.
        pauses: `[quantiles]`, quantiles at even steps from 0 to 1 of the seconds from a play's end to the next one's
            start in a session.
    """

    leaving: MixedLogistic
    contexts: Habits
    devices: Habits
    pauses: Float[np.ndarray, " quantiles"]

    def draw_pause_us(self, number: int, rng: np.random.Generator) -> Int[np.ndarray, " number"]:
        """Draws pauses between a play's end and the next one's start, microseconds."""
        steps = np.linspace(0.0, 1.0, len(self.pauses))
        return (np.interp(rng.random(number), steps, self.pauses) * 1e6).astype(np.int64)

    def facts(self) -> dict[str, Any]:
        """Returns the parameters by name, for a file."""
        return {
            "leaving": self.leaving.facts(), "contexts": self.contexts.prior, "devices": self.devices.prior,
            "pauses": self.pauses,
        }  # fmt: skip

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> "Sessions":
        """Rebuilds the sessions from the result of `facts`."""
        return cls(
            leaving=MixedLogistic(**facts["leaving"]), contexts=Habits(prior=facts["contexts"]),
            devices=Habits(prior=facts["devices"]), pauses=facts["pauses"],
        )  # fmt: skip


def leave_features(
    state: ListenerState, rows: Integer[np.ndarray, " some"], num_contexts: int
) -> Float[np.ndarray, "some features"]:
    """Returns the features of the chance of leaving, float32: moment, plays so far, skips in a row, context."""
    position = state.position[rows, None]
    steps = position == np.arange(1, 6)
    contexts = state.context[rows, None] == np.arange(num_contexts - 1)
    late = np.maximum(position - np.array([10, 20, 40]), 0) / 10.0
    # Separate columns, since some listeners give up after a certain number of skips in a row.
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
        pauses: result of `pauses_of`.
        start: earlier fit to nearly the same plays, which makes this one faster.
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
    """Returns the number of sessions of each listener with each code."""
    flat = np.bincount(listener * number + code, minlength=len(log.user_ids) * number)
    return flat.reshape(-1, number).astype(float)


def pauses_of(log: SessionLog, ended_us: Integer[np.ndarray, " plays"]) -> Float[np.ndarray, " quantiles"]:
    """Returns quantiles of the seconds between plays of a session, at even steps; negative pauses count as 0."""
    inside = log.session[1:] == log.session[:-1]
    seconds = (log.start_us[1:] - ended_us[:-1])[inside] / 1e6
    return np.quantile(np.maximum(seconds, 0.0), np.linspace(0.0, 1.0, _PAUSES)) if len(seconds) else np.ones(_PAUSES)
