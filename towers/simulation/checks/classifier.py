"""A classifier that tries to tell real from simulated sessions, with trials of its own strength.

Gradient-boosted trees (scikit-learn's `HistGradientBoostingClassifier`, in the extra `train`) get one row per session.
Listeners are split into folds: sessions are scored by trees that were trained neither on the listener's real sessions
nor on the simulated ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.simulation.checks.auc import weighted_auc
from towers.simulation.checks.heard import Heard
from towers.simulation.checks.resampling import Draws, bounds
from towers.simulation.checks.session_features import SessionFeatures, session_features
from towers.simulation.checks.stated import played_us
from towers.simulation.listeners.session_log import SessionLog
from towers.simulation.listeners.space import Space

FOLDS = 5
MOST_TELLING = 12
"""Number of features that are reported."""
ACTIONS = ("outcome", "fraction", "liked", "saved", "disliked")
"""Columns that are shuffled together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Separability of sessions of two kinds.

    Args:
        auc: chance that a session of the second kind has a higher score than one of the first; .5: not at all.
        low: lower 95 % bound, over listeners.
        high: upper 95 % bound, over listeners.
    """

    auc: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Scores of sessions of two kinds, by trees that were not trained on the session's listener.

    Args:
        listener: row of each session's listener.
        is_second: whether a session is of the second kind.
        score: any number, higher for the second kind.
        fold: fold in which a session was scored; other folds have other trees, so scores compare only within one.
    """

    listener: Int[np.ndarray, " sessions"]
    is_second: Bool[np.ndarray, " sessions"]
    score: Float[np.ndarray, " sessions"]
    fold: Int[np.ndarray, " sessions"]

    def auc(self, weights: Float[np.ndarray, " listeners"]) -> float:
        """Returns the mean AUC of the folds, with a weight for each listener; NaN where each fold lacks a kind."""
        each = [weighted_auc(self.score[mine], self.is_second[mine], weights[self.listener[mine]])
                for fold in range(FOLDS) if (mine := self.fold == fold).any()]  # fmt: skip
        known = [one for one in each if np.isfinite(one)]
        return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldApart:
    """Results of the classifier.

    Args:
        simulated: real against simulated sessions; mean over the members of the ensemble.
        real: real sessions of a random half of the listeners against those of the other half.
        shuffled: real sessions against the same ones with actions shuffled among all plays.
        shuffled_within: real sessions against the same ones with actions shuffled within each session.
        features: loss of AUC when a feature is shuffled, by name: the most telling features, best first.
        names: names of all features.
        scored: scores for each member, to be evaluated for segments of listeners.
    """

    simulated: Told
    real: Told
    shuffled: Told
    shuffled_within: Told
    features: dict[str, float]
    names: tuple[str, ...]
    scored: tuple[Scored, ...]

    def among(self, draws: Draws) -> Told:
        """Returns how well real and simulated sessions of some listeners can be told apart, weighted by `draws`."""
        return _told(self.scored, draws)


def tell_apart(
    real: Heard,
    simulated: Sequence[Heard],
    space: Space,
    draws: Draws,
    *,
    trees: int,
    seed: int,
    progress: Callable[[str], None],
) -> ToldApart:
    """Tells sessions apart: real from simulated, and as trials of itself real from real and real from shuffled.

    Args:
        real: real plays, with at least one session.
        simulated: plays of the same listeners, for each member of the ensemble.
        space: space of the played contents.
        draws: draws of listeners and members.
        trees: number of trees of each classifier.
        seed: seed of folds, trees, halves and shuffles.
        progress: called with the name of each step before it begins.
    """
    generator = np.random.default_rng(seed)
    fold_of = generator.permutation(real.listeners) % FOLDS
    of = _features_for(space, real.log.contexts, real.log.devices)
    scored_by = partial(_scored, fold_of=fold_of, trees=trees, seed=seed)
    mine = of(real)
    progress("telling real sessions from simulated ones")
    scored, lost = [], {}
    for member, other in enumerate(simulated):
        if not len(other.log):
            continue
        found, drops = scored_by(mine, of(other), looks=member == 0)
        scored.append(found)
        lost = lost or drops
    progress("telling real sessions from real ones, and from shuffled ones")
    half = generator.permutation(real.listeners) % 2 == 1
    halves = scored_by(*_halves(mine, half))[0]
    shuffled, within = (
        scored_by(mine, of(_with_log(real, shuffled_actions(real.log, space, generator, within=each))))[0]
        for each in (False, True)
    )
    best = sorted(lost, key=lambda name: -lost[name])[:MOST_TELLING]
    return ToldApart(
        simulated=_told(scored, draws),
        real=_told([halves], draws),
        shuffled=_told([shuffled], draws),
        shuffled_within=_told([within], draws),
        features={name: lost[name] for name in best},
        names=mine.names,
        scored=tuple(scored),
    )


def shuffled_actions(log: SessionLog, space: Space, generator: np.random.Generator, *, within: bool) -> SessionLog:
    """Returns a copy of the log in which the columns `ACTIONS` are permuted together among plays.

    Start times within a session are shifted by the changed durations before them, or the clock would give it away.

    Args:
        log: plays.
        space: space of the played contents.
        generator: generator of the order.
        within: whether an action stays in its session.
    """
    drawn = generator.random(len(log))
    order = np.lexsort((drawn, log.session)) if within else np.argsort(drawn)
    shuffled = replace(log, **{name: getattr(log, name)[order] for name in ACTIONS})
    longer_us = played_us(shuffled, space) - played_us(log, space)
    so_far = np.cumsum(longer_us) - longer_us
    moved_us = so_far - np.repeat(so_far[log.session_begins], log.session_lengths)
    return replace(shuffled, start_us=log.start_us + moved_us)


def _with_log(heard: Heard, log: SessionLog) -> Heard:
    return Heard(log=log, before=heard.before, begin_us=heard.begin_us, end_us=heard.end_us)


def _features_for(
    space: Space, contexts: tuple[str, ...], devices: tuple[str, ...]
) -> Callable[[Heard], SessionFeatures]:
    return lambda heard: session_features(heard, space, contexts, devices)


def _scored(
    first: SessionFeatures,
    second: SessionFeatures,
    fold_of: Int[np.ndarray, " listeners"],
    *,
    trees: int,
    seed: int,
    looks: bool = False,
) -> tuple[Scored, dict[str, float]]:
    """Scores the sessions of both kinds; with `looks`, also returns the loss of AUC without each feature."""
    values = np.concatenate([first.values, second.values])
    listener = np.concatenate([first.listener, second.listener])
    is_second = np.arange(len(values)) >= len(first.values)
    score = np.zeros(len(values))
    lost = np.zeros((FOLDS, values.shape[1]))
    fold = fold_of[listener]
    generator = np.random.default_rng(seed)
    for number in range(FOLDS):
        tested = fold == number
        if not tested.any() or len(np.unique(is_second[~tested])) < 2:
            continue
        fitted = _classifier(trees, seed).fit(values[~tested], is_second[~tested])
        score[tested] = fitted.decision_function(values[tested])
        if looks:
            lost[number] = _lost(fitted, values[tested], is_second[tested], generator)
    names = dict(zip(first.names, lost.mean(axis=0).tolist(), strict=True)) if looks else {}
    return Scored(listener=listener, is_second=is_second, score=score, fold=fold), names


def _halves(features: SessionFeatures, half: Bool[np.ndarray, " listeners"]) -> list[SessionFeatures]:
    return [
        SessionFeatures(values=features.values[keep], names=features.names, listener=features.listener[keep])
        for keep in (~half[features.listener], half[features.listener])
    ]


def _classifier(trees: int, seed: int) -> Any:
    # Imported here, since only a check needs it.
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.06, max_iter=trees, max_leaf_nodes=15, min_samples_leaf=30, l2_regularization=1.0,
        early_stopping=False, random_state=seed,  # pyright: ignore[reportArgumentType]  # a bool by its documentation
    )  # fmt: skip


def _lost(
    fitted: Any,
    values: Float[np.ndarray, "n features"],
    is_second: Bool[np.ndarray, " n"],
    generator: np.random.Generator,
) -> Float[np.ndarray, " features"]:
    """Returns the AUC lost when a feature's values are permuted (Breiman 2001)."""
    weights = np.ones(len(values))
    whole = weighted_auc(fitted.decision_function(values), is_second, weights)
    lost = np.zeros(values.shape[1])
    for column in range(values.shape[1]):
        changed = values.copy()
        changed[:, column] = generator.permutation(changed[:, column])
        lost[column] = whole - weighted_auc(fitted.decision_function(changed), is_second, weights)
    return lost


def _told(scored: Sequence[Scored], draws: Draws) -> Told:
    if not scored:
        return Told(auc=float("nan"), low=float("nan"), high=float("nan"))
    each = np.array([np.mean([one.auc(weights) for one in scored]) for weights in draws.listeners])
    low, high = bounds(each)
    return Told(auc=float(each[0]), low=float(low), high=float(high))
