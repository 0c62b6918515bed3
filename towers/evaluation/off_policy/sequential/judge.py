"""Off-policy evaluation of a new policy over many steps: all estimators with intervals, weight diagnostics, and
refusals if the log does not suffice."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from jaxtyping import Float

from towers.evaluation.intervals import RESAMPLES, Interval
from towers.evaluation.off_policy.bounds import interval_of, resampled_values
from towers.evaluation.off_policy.diagnostics import WeightDiagnostics
from towers.evaluation.off_policy.estimators import Terms, direct, doubly_robust, ips, snips
from towers.evaluation.off_policy.judge import DIRECT, DR, IPS, KINDS, SNIPS, Guarded, effective_number
from towers.evaluation.off_policy.log import Slates
from towers.evaluation.off_policy.sequential.fitted_q import FittedQ
from towers.evaluation.off_policy.sequential.log import SequentialLog
from towers.evaluation.off_policy.sequential.marginal import (
    MARGINAL,
    MARGINAL_DR,
    Marginal,
    discrete_states,
    marginal_values,
    resampled_marginal_values,
)
from towers.evaluation.off_policy.sequential.refusals import Found, Limits, refusals_of
from towers.evaluation.off_policy.sequential.verdict import SequentialVerdict, Weighting

LOGGED = "logged"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialSettings:
    """Settings of the evaluation of a policy by a log of many steps.

    Args:
        limits: limits that a log must keep to be accepted.
        model: fitted Q evaluation, used alone and in doubly robust estimates.
        weighting: weighting of the accepted estimate; null: products up to `Limits.most_steps` steps, and marginal for
            more steps if the log has states.
        most_states: largest number of discrete states of marginal weights.
        resamples: number of resamples of listeners.
        seed: seed of the resamples and of the discrete states.
    """

    limits: Limits = field(default_factory=Limits)
    model: FittedQ = field(default_factory=FittedQ)
    weighting: Weighting | None = None
    most_states: int = 50
    resamples: int = RESAMPLES
    seed: int = 0


def judge_sequential(log: SequentialLog, settings: SequentialSettings | None = None) -> SequentialVerdict:
    """Estimates a listener's return under the new policy, or gives the reasons why the log does not suffice.

    Up to `Limits.most_steps` steps, estimates use products of the steps' weights: per-decision importance sampling
    (`ips`), self-normalised (`snips`; Precup, Sutton and Singh 2000) and doubly robust (`dr`; Jiang and Li 2016), as
    for slates with steps as slots. Longer logs are evaluated only by marginal weights. `direct` is fitted Q evaluation.

    Args:
        log: log of any policies with known propensities, on which the new policy was not trained.
        settings: settings; null: the defaults.

    Raises:
        ValueError: the settings require marginal weights, and the log has no states.
    """
    settings = settings or SequentialSettings()
    slates = log.slates()
    if log.actions is not None and len(slates) >= settings.model.folds:
        worth = settings.model.worth(log)
        slates = replace(slates, estimates=log.laid(worth.shown), new_estimates=log.laid(worth.new))
    marginal = _marginal(log, slates, settings)
    weighting = _weighting(log, marginal, settings)
    values, resampled = _estimated(slates, marginal, settings)
    weights = _weights(slates, marginal if weighting == "marginal" else None, settings)
    believed = next((name for name in _ORDER[weighting] if name in values), None)
    estimates = {name: interval_of(values[name], resampled[name]) for name in values if name != LOGGED}
    found = Found(
        listeners=len(slates),
        horizon=log.horizon,
        weighting=weighting,
        weights=tuple(WeightDiagnostics.of(column) for column in weights.T),
        step_weights=tuple(WeightDiagnostics.of(column) for column in slates.ratios.T),
        estimates=estimates,
        believed=believed or SNIPS,
        logged=interval_of(values[LOGGED], resampled[LOGGED]),
    )
    return SequentialVerdict(
        listeners=len(slates), rows=len(log), horizon=log.horizon, weighting=found.weighting, weights=found.weights,
        step_weights=found.step_weights, estimates=estimates, believed=found.believed, logged=found.logged,
        gain=None if believed is None else interval_of(
            values[believed] - values[LOGGED], resampled[believed] - resampled[LOGGED]
        ),
        parts={} if believed is None else _parts(log, slates, weights, settings),
        refusals=refusals_of(found, settings.limits),
    )  # fmt: skip


_ORDER: Final[Mapping[Weighting, tuple[str, ...]]] = {"products": (DR, SNIPS), "marginal": (MARGINAL_DR, MARGINAL)}
"""Preference of estimates by weighting; the first available one is accepted."""


def _weighting(log: SequentialLog, marginal: Marginal | None, settings: SequentialSettings) -> Weighting:
    if settings.weighting == "marginal" and marginal is None:
        raise ValueError("weighting=marginal needs states in the log")
    if settings.weighting is not None:
        return settings.weighting
    return "products" if log.horizon <= settings.limits.most_steps or marginal is None else "marginal"


def _marginal(log: SequentialLog, slates: Slates, settings: SequentialSettings) -> Marginal | None:
    if log.states is None:
        return None
    states = discrete_states(log.states, settings.most_states, settings.seed)
    gone = float(states.max()) + 1
    return Marginal(states=log.laid(states.astype(float), gone).astype(np.int64), ratios=slates.ratios)


def _weights(
    slates: Slates, marginal: Marginal | None, settings: SequentialSettings
) -> Float[np.ndarray, "listeners steps"]:
    """Returns the weights of the steps; products only up to the limit of steps, as longer ones overflow."""
    if marginal is not None:
        return marginal.weights()
    return np.cumprod(slates.ratios[:, : settings.limits.most_steps], axis=1)


def _estimated(
    slates: Slates, marginal: Marginal | None, settings: SequentialSettings
) -> tuple[dict[str, float], dict[str, Float[np.ndarray, " resamples"]]]:
    """Returns the estimates, and their values in common resamples."""
    terms = {LOGGED: ips(slates.on_policy())}
    is_short = slates.depth <= settings.limits.most_steps
    if is_short:
        terms |= {IPS: ips(slates), SNIPS: snips(slates)}
    if slates.estimates is not None:
        terms |= {DIRECT: direct(slates)} | ({DR: doubly_robust(slates)} if is_short else {})
    draws = {"seed": settings.seed, "resamples": settings.resamples}
    values = {name: one.value for name, one in terms.items()}
    resampled = resampled_values(terms, slates.listeners, **draws)
    if marginal is not None:
        values |= marginal_values(marginal, slates)
        resampled |= resampled_marginal_values(marginal, slates, **draws)
    return values, resampled


def _parts(
    log: SequentialLog, slates: Slates, weights: Float[np.ndarray, "listeners steps"], settings: SequentialSettings
) -> dict[str, Guarded]:
    """Estimates a listener's sum of each part, with all weights, including marginal ones, taken as known."""
    draws = {"seed": settings.seed, "resamples": settings.resamples}
    ones = np.ones_like(weights)

    def both(columns: Mapping[str, np.ndarray]) -> tuple[dict[str, Interval], dict[str, float], np.ndarray]:
        terms = {name: Terms.normalised(weights, column) for name, column in columns.items()}
        drawn = resampled_values(terms, slates.listeners, **draws)
        own = {name: Terms.normalised(ones, column).value for name, column in columns.items()}
        return {name: interval_of(terms[name].value, drawn[name]) for name in terms}, own, np.stack([*drawn.values()])

    intervals, own, _ = both(slates.guards)
    found = {name: Guarded(new=intervals[name], production=own[name]) for name in intervals}
    if log.exposures is not None:
        shown = {str(kind): log.laid(column) for kind, column in enumerate(log.exposures.T)}
        intervals, own, drawn = both(shown)
        middle = np.array([[one.mean for one in intervals.values()], [*own.values()]])
        new, before = (float(one) for one in effective_number(middle))
        found[KINDS] = Guarded(new=interval_of(new, effective_number(drawn.T)), production=before)
    return found
