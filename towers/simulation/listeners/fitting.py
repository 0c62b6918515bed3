"""Fits every module of the simulator to a log, to all listeners and again for each member of an ensemble."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import fminbound

from towers.errors import UserError
from towers.simulation.listeners import features
from towers.simulation.listeners.choosing import Choosing, fit_choice
from towers.simulation.listeners.logistic import fit_mixed_logistic
from towers.simulation.listeners.model import ListenerModel, Simulator
from towers.simulation.listeners.replay import Choices, Recorded, record, replay
from towers.simulation.listeners.response import fit_response
from towers.simulation.listeners.returning import fit_returning, gaps_of
from towers.simulation.listeners.running_free import corrected
from towers.simulation.listeners.session_log import SKIP, SessionLog
from towers.simulation.listeners.sessions import fit_sessions, pauses_of
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import Drift, ListenerState


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """Settings of a fit.

    Args:
        members: number of models of the ensemble, each fitted to listeners drawn with replacement.
        seed: seed of all random draws.
        min_listeners: minimum number of listeners with plays.
        max_listeners: maximum number of listeners whose plays are read; of more, so many are drawn.
        num_choices: number of first choices of sessions, and of later ones, that are compared with other contents.
        max_candidates: maximum number of contents that a simulated listener weighs for a new one.
        free_days: days before the end that some listeners simulate freely, to correct their choices.
        free_rounds: number of corrections; 0: none.
        free_listeners: maximum number of these listeners.
        drift_listeners: number of listeners that the speeds of taste and satiation are fitted to.
        slow_rates: candidate shares of the slow taste that a play replaces; the likeliest is taken.
        fast_rates: candidate shares of the fast taste that a play replaces.
        recovery_hours: range of the time in which satiation falls to 1/e, in hours.
    """

    members: int = 5
    seed: int = 0
    min_listeners: int = 100
    max_listeners: int = 20_000
    num_choices: int = 12_000
    max_candidates: int = 5_000
    free_days: float = 28.0
    free_rounds: int = 2
    free_listeners: int = 1_000
    drift_listeners: int = 600
    slow_rates: Sequence[float] = (0.005, 0.01, 0.02, 0.04)
    fast_rates: Sequence[float] = (0.1, 0.2, 0.4)
    recovery_hours: Sequence[float] = (0.1, 100.0)


def fit(
    log: SessionLog,
    space: Space,
    settings: FitSettings,
    until_us: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Simulator:
    """Fits a simulator to a log.

    Args:
        log: plays of the fit's listeners, all before `until_us`.
        space: space of the contents; their plays are counted anew.
        settings: settings of the fit.
        until_us: end of the log's period, microseconds.
        progress: called with a line about each finished step.

    Raises:
        UserError: the log has too few listeners, or none of them came back.
    """
    rng = np.random.default_rng([settings.seed, 21])
    listening = np.flatnonzero(np.bincount(log.listener, minlength=len(log.user_ids)))
    if len(listening) < settings.min_listeners:
        raise UserError(
            f"the log has {len(listening):,} listeners with plays before the check, and a fit needs "
            f"{settings.min_listeners:,} (fit.min_listeners)"
        )
    kept = np.zeros(len(log.user_ids), bool)
    kept[rng.permutation(listening)[: settings.max_listeners]] = True
    log = log.of_listeners(kept)
    space = space.counted(log.content, int(log.start_us.min()), until_us)
    drift = fit_drift(log, space, settings, progress)
    progress(f"{len(log):,} plays of {len(log.user_ids):,} listeners are replayed")
    recorded = record(log, space, drift, settings.num_choices, settings.seed)
    pauses = pauses_of(log, recorded.ended_us)
    everybody = np.ones(len(log.user_ids))
    central = _fitted(log, recorded, pauses, until_us, everybody, settings, None)
    progress("fitted to all listeners")
    some = np.zeros(len(log.user_ids), bool)
    some[rng.permutation(len(some))[: settings.free_listeners]] = True
    choosing = corrected(
        central, space, log.of_listeners(some), until_us, settings.free_days, settings.free_rounds, settings.seed,
        progress,
    )  # fmt: skip
    shift = {name: getattr(choosing, name) - getattr(central.choosing, name) for name in ("known", "new")}
    members = []
    for member in range(settings.members):
        drawn = rng.integers(len(log.user_ids), size=len(log.user_ids))
        weights = np.bincount(drawn, minlength=len(log.user_ids)).astype(float)
        model = _fitted(log, recorded, pauses, until_us, weights, settings, central)
        moved = {name: getattr(model.choosing, name) + by for name, by in shift.items()}
        members.append(replace(model, choosing=replace(model.choosing, **moved)))
        progress(f"member {member + 1} of {settings.members}")
    return Simulator(
        central=replace(central, choosing=choosing), members=tuple(members), space=space, contexts=log.contexts,
        devices=log.devices, until_us=until_us,
    )  # fmt: skip


def _fitted(
    log: SessionLog,
    recorded: Recorded,
    pauses: Float[np.ndarray, " quantiles"],
    until_us: int,
    weights: Float[np.ndarray, " listeners"],
    settings: FitSettings,
    start: ListenerModel | None,
) -> ListenerModel:
    repeat = fit_mixed_logistic(
        recorded.repeat, recorded.is_repeat, log.listener, weights, start.choosing.repeat if start else None
    )
    choosing = Choosing(
        repeat=repeat, known=_choice(recorded.known, weights), new=_choice(recorded.new, weights),
        num_contexts=len(log.contexts), max_candidates=settings.max_candidates,
    )  # fmt: skip
    response = fit_response(
        log, recorded.state.space, recorded.of_content, recorded.of_moment, weights, start.response if start else None
    )
    return ListenerModel(
        drift=recorded.state.drift,
        response=response,
        choosing=choosing,
        sessions=fit_sessions(log, recorded.leave, weights, pauses, start.sessions if start else None),
        returning=fit_returning(*gaps_of(log, recorded.ended_us, until_us), weights),
    )


def _choice(choices: Choices | None, weights: Float[np.ndarray, " listeners"]) -> Float[np.ndarray, "2 features"]:
    if choices is None:
        raise UserError("the log has no repeats, or nothing but repeats, so there is no choice to learn from")
    parts = (choices.is_first, ~choices.is_first)
    return np.stack([
        fit_choice(choices.read[part], choices.may_come[part], weights[choices.listener[part]]) for part in parts
    ])  # fmt: skip


def fit_drift(log: SessionLog, space: Space, settings: FitSettings, progress: Callable[[str], None]) -> Drift:
    """Fits the speeds of tastes and of satiation by the likelihood of the log's skips, one after another.

    Args:
        log: plays.
        space: space of the contents, with the plays of the fit.
        settings: candidate values.
        progress: called with a line about the fitted values.
    """
    drawn = np.random.default_rng([settings.seed, 23]).permutation(len(log.user_ids))[: settings.drift_listeners]
    kept = np.zeros(len(log.user_ids), bool)
    kept[drawn] = True
    some = log.of_listeners(kept)
    drift = Drift()
    drift = max(
        (replace(drift, slow_rate=rate) for rate in settings.slow_rates), key=lambda it: _likelihood(some, space, it)
    )
    drift = max(
        (replace(drift, fast_rate=rate) for rate in settings.fast_rates), key=lambda it: _likelihood(some, space, it)
    )
    low, high = np.log(settings.recovery_hours)
    found = fminbound(
        lambda hours: -_likelihood(some, space, replace(drift, recovery_hours=float(np.exp(hours)))), low, high,
        xtol=0.1, maxfun=14,
    )  # fmt: skip
    drift = replace(drift, recovery_hours=float(np.exp(found)))
    progress(
        f"a play replaces {drift.slow_rate:.1%} of the slow taste, {drift.fast_rate:.0%} of the fast one; satiation "
        f"falls to 1/e in {drift.recovery_hours:.2g} hours"
    )
    return drift


def _likelihood(log: SessionLog, space: Space, drift: Drift) -> float:
    """Returns the log-likelihood of a log's skips with traits at their posterior modes, penalised by their prior."""
    read = np.empty((len(log), len(features.OF_CONTENT) + len(features.OF_MOMENT)), np.float32)

    def look(state: ListenerState, rows: np.ndarray, plays: np.ndarray) -> None:
        read[plays, : len(features.OF_CONTENT)] = features.of_content(state, rows, log.content[plays][:, None])[:, 0]
        read[plays, len(features.OF_CONTENT) :] = features.of_moment(state, rows)

    replay(log, space, drift, look)
    is_skip, number = log.outcome == SKIP, len(log.user_ids)
    model = fit_mixed_logistic(read, is_skip, log.listener, np.ones(number))
    traits, _ = model.traits(read, is_skip, log.listener, number)
    chance = model.chance(read, traits[log.listener])
    price = 0.5 * float(((traits / model.spread) ** 2).sum()) + number * np.log(model.spread)
    return float(np.log(np.where(is_skip, chance, 1.0 - chance)).sum()) - price
