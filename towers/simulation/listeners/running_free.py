"""Correction of own choice until free-running listeners choose, on average, what real ones do.

A conditional logit is fitted one choice ahead, from real histories. A free-running simulation builds on its own
choices, so small errors add up. So listeners of the fit run freely through its last weeks, and weights move by a Newton
step towards equal means of the features of chosen contents; these include squares and products, so spreads and
correlations are matched as well. This is the method of simulated moments (McFadden 1989, "A method of simulated moments
for estimation of discrete response models without numerical integration").
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from towers.contract.durations import DAY_US
from towers.simulation.listeners import choice_features
from towers.simulation.listeners.choosing import Choosing
from towers.simulation.listeners.model import ListenerModel
from towers.simulation.listeners.replay import replay
from towers.simulation.listeners.rollout import listen
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space
from towers.simulation.listeners.state import ListenerState

_FEWEST: Final = 200
"""Choices of a kind that a correction needs, both real and simulated."""
_SHRINK: Final = 0.02
"""Share of a feature's variance added for stability, so that nearly collinear features hardly move."""


def corrected(
    model: ListenerModel,
    space: Space,
    log: SessionLog,
    until_us: int,
    days: float,
    rounds: int,
    seed: int,
    progress: Callable[[str], None],
) -> Choosing:
    """Returns the choosing part of a model with corrected weights.

    Args:
        model: model fitted one choice ahead.
        space: space of the contents, with the plays of the fit.
        log: plays of the fit, or of some of its listeners.
        until_us: end of the fit's period.
        days: length of the simulated end of the period.
        rounds: number of corrections.
        seed: seed of the simulations.
        progress: called with a line after each correction.
    """
    begin_us = until_us - int(days * DAY_US)
    before, real = log.between(0, begin_us), log.between(begin_us, until_us)
    if not len(before) or not len(real):
        return model.choosing
    known = np.bincount(before.listener, minlength=len(log.user_ids)) > 0
    real = real.taken(known[real.listener])
    wanted = _moments(before, real, space, model, begin_us)
    for turn in range(rounds):
        run = listen(model, space, before, begin_us, until_us, seed + turn)
        reached = _moments(before, run, space, model, begin_us)
        weights = {"known": model.choosing.known.copy(), "new": model.choosing.new.copy()}
        apart = []
        for (name, place), (mean, covariance) in wanted.items():
            if (name, place) in reached:
                there, _ = reached[name, place]
                spread = covariance + np.diag(_SHRINK * np.diag(covariance) + 1e-6)
                weights[name][place] += np.linalg.solve(spread, mean - there)
                apart.append(np.abs(mean - there) / np.sqrt(np.diag(covariance) + 1e-6))
        if not apart:
            progress(f"fewer than {_FEWEST} choices of each kind: weights stay as they were fitted one choice ahead")
            break
        far = np.concatenate(apart).mean()
        progress(f"free run {turn + 1} of {rounds}: means of what is chosen {far:.3f} deviations apart")
        model = replace(model, choosing=replace(model.choosing, **weights))
    return model.choosing


_Moments = dict[tuple[str, int], tuple[Float[np.ndarray, " features"], Float[np.ndarray, "features features"]]]


def _moments(before: SessionLog, then: SessionLog, space: Space, model: ListenerModel, begin_us: int) -> _Moments:
    """Returns means and covariances of the features of chosen contents, known and new, first (0) and later (1); kinds
    with too few choices are left out."""
    whole, contexts = before.followed_by(then), len(before.contexts)
    read: dict[tuple[str, int], list[np.ndarray]] = {}

    def look(state: ListenerState, rows: Int[np.ndarray, " rows"], plays: Int[np.ndarray, " rows"]) -> None:
        inside = whole.start_us[plays] >= begin_us
        rows, content = rows[inside], whole.content[plays[inside]]
        place = state.memory.places_of(rows, content)
        for is_later in (0, 1):
            now = (state.position[rows] > 0) == bool(is_later)
            known, new = now & (place >= 0), now & (place < 0)
            if known.any():
                found = choice_features.known_features(state, rows[known], place[known][:, None], contexts)
                read.setdefault(("known", is_later), []).append(found[:, 0])
            if new.any():
                offered, at = np.unique(content[new], return_inverse=True)
                found = choice_features.new_features(state, rows[new], offered, contexts)
                read.setdefault(("new", is_later), []).append(found[np.arange(len(at)), at])

    replay(whole, space, model.drift, look)
    moments: _Moments = {}
    for kind, pieces in read.items():
        rows = np.concatenate(pieces).astype(float)
        if len(rows) >= _FEWEST:
            moments[kind] = rows.mean(axis=0), np.cov(rows.T)
    return moments
