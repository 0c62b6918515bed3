"""Fits the prior of contents' long-term returns, and the spread of listeners around them, by empirical Bayes."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from towers.errors import DataLacks
from towers.policies.long_term.noise import moments_of
from towers.policies.long_term.outcomes import DelayedOutcomes
from towers.policies.long_term.progressive import Evidence, ReturnModel, coordinates, evidence_of

RANK, DIRECTIONS = 12, 3
"""Number of directions of outcomes in which contents differ most, and how many of the first depend on the vector."""
FIRST_DAYS = (1, 3, 7, 14, 30)
"""Numbers of first days whose returns are estimated without bias, however contents differ."""
GUESSED_SHARE, GUESSED_CONTENTS = 0.01, 5.0
"""Prior variance of contents' means as a share of the variance of listeners, and the number of contents that this guess
counts as."""
AT_MOST_CONTENTS, AT_MOST_PAIRS = 5_000, 200_000
"""Largest numbers of contents and discoveries that the model is fitted on; of more, so many are drawn at random."""
ROUNDS, TOLERANCE = 100, 1e-3
"""Largest number of steps of EM, and the relative change of the deviation of contents' returns at which they end."""
RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
FOLDS = 5
MIN_PAIRS = 100
"""Number of discoveries that must be old enough for a day to be part of the outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model, with facts about its fit.

    Args:
        model: model of as many days as the outcomes allow.
        pairs: number of discoveries of which at least one day is over.
        contents: number of contents in them.
        mean_outcome: mean over contents.
        explained: share of the variance of contents' returns that the vector explains; 0 where it does not help for
            contents left out of the fit, and is then not used.
    """

    model: ReturnModel
    pairs: int
    contents: int
    mean_outcome: Float[np.ndarray, " days"]
    explained: float


def days_known(observed: Int[np.ndarray, " pairs"], most: int) -> int:
    """Returns how many days of an outcome are over for at least `MIN_PAIRS` discoveries, up to `most`."""
    if len(observed) < MIN_PAIRS:
        return 0
    return int(min(most, np.partition(observed, -MIN_PAIRS)[-MIN_PAIRS]))


def fit_returns(
    outcomes: DelayedOutcomes,
    vectors: Float[np.ndarray, "contents dim"],
    *,
    weights: Float[np.ndarray, " days"] | None = None,
    least_days: int = 7,
    seed: int = 0,
) -> Fitted:
    """Fits the model to outcomes.

    The spread of listeners around their content comes from moments (`noise.moments_of`). How contents' means differ
    comes from EM in a few directions, among them those in which moments say that they differ most; how the mean depends
    on the vector comes from generalised least squares with a ridge, chosen by cross-validation over contents.

    Args:
        outcomes: outcomes of the training period.
        vectors: vectors in the space, by content row.
        weights: weight of each day of coming back in the return; null: 1.
        least_days: least number of days of an outcome that is worth fitting.
        seed: seed of the random subsets.

    Raises:
        DataLacks: too few discoveries are `least_days` old, or no listener ever came back.
    """
    days = days_known(outcomes.observed, outcomes.days)
    if days < least_days:
        raise DataLacks(
            f"{MIN_PAIRS} discoveries or more must be {least_days} days old, and the log has so many that are {days} "
            "days old: it is too short, or too small, for delayed outcomes"
        )
    outcomes = outcomes.up_to(days)
    outcomes = outcomes.at(np.flatnonzero(outcomes.observed > 0))
    if not outcomes.returned.any():
        raise DataLacks("no listener came back to anything that they had discovered")
    draws = np.random.default_rng(seed)
    some = outcomes
    if len(some) > AT_MOST_PAIRS:
        some = some.at(np.sort(draws.choice(len(some), AT_MOST_PAIRS, replace=False)))
        days = days_known(some.observed, days)
        outcomes, some = outcomes.up_to(days), some.up_to(days)
    moments = moments_of(some)
    counts = np.ones(days) if weights is None else np.asarray(weights, np.float64)[:days]
    model = ReturnModel(
        mean=moments.mean,
        slopes=np.zeros((vectors.shape[1], days)),
        factor=_first_factor(moments.between, moments.mean, moments.whitening, counts),
        whitening=moments.whitening,
        weights=counts,
    )
    rows = np.unique(outcomes.content)
    if len(rows) > AT_MOST_CONTENTS:
        rows = np.sort(draws.choice(rows, AT_MOST_CONTENTS, replace=False))
    evidence = evidence_of(model, outcomes, len(vectors)).of(rows)
    read = vectors[rows].astype(np.float64)
    before = _em(model, evidence, read)
    model = _with_slopes(before, evidence, read, draws)
    if model is not before:
        model = _em(model, evidence, read)
    return Fitted(
        model=model,
        pairs=len(outcomes),
        contents=len(np.unique(outcomes.content)),
        mean_outcome=model.mean + read.mean(axis=0) @ model.slopes,
        explained=max(0.0, 1 - (model.deviation / before.deviation) ** 2),
    )


def _first_factor(
    between: Float[np.ndarray, "days days"],
    mean: Float[np.ndarray, " days"],
    whitening: Float[np.ndarray, "days days"],
    weights: Float[np.ndarray, " days"],
) -> Float[np.ndarray, "days rank"]:
    """Returns the start of EM: directions, each with some variance. They are those in which the moments say that
    contents differ most, and the mean outcome.

    Differences outside of them count as noise, and would bias a content's return however many discovered it. With `V w`
    among them, for the covariance `V` within contents and weights `w`, they do not: the rest of the outcome is
    orthogonal to them in the metric of `V^-1`, so its return is 0. The same holds for the returns of the first days.
    """
    values, directions = np.linalg.eigh(between)
    leading = directions[:, np.argsort(-values)[:RANK]]
    noise = np.linalg.inv(whitening)
    days = np.arange(len(mean))[:, None]
    read = np.concatenate([weights[:, None], weights[:, None] * (days < np.array([FIRST_DAYS]))], axis=1)
    found, _, _ = np.linalg.svd(np.concatenate([_unit(noise @ noise.T @ read), _unit(mean[:, None]), leading], axis=1))
    basis = found[:, : RANK + len(FIRST_DAYS) + 2]
    guess = GUESSED_SHARE * ((noise.T @ basis) ** 2).sum(axis=0)
    return basis * np.sqrt(np.maximum((basis * (between @ basis)).sum(axis=0), guess))


def _unit(columns: Float[np.ndarray, "days some"]) -> Float[np.ndarray, "days some"]:
    return columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-12)


def _em(model: ReturnModel, evidence: Evidence, vectors: Float[np.ndarray, "contents dim"]) -> ReturnModel:
    """Returns the model with the mean and the covariance of contents' means at which EM ends; the span of `factor`
    stays."""
    noise = np.linalg.inv(model.whitening)
    prior = model.mean + vectors @ model.slopes
    for _ in range(ROUNDS):
        precision, shift = coordinates(model, evidence, prior)
        covariance = np.linalg.inv(precision)
        # The mean is its best estimate at the present covariance (generalised least squares), as EM's own step is slow.
        known = np.eye(precision.shape[1]) - covariance
        step = np.linalg.lstsq(known.sum(axis=0), (covariance @ shift[..., None])[..., 0].sum(axis=0), rcond=1e-8)[0]
        moved = model.factor @ step
        prior, shift = prior + moved, coordinates(model, evidence, prior + moved)[1]
        found = (covariance @ shift[..., None])[..., 0]
        basis, scale = np.linalg.qr(model.factor)
        of_means = scale @ (covariance.sum(axis=0) + found.T @ found) @ scale.T
        spread = noise.T @ basis
        guess = GUESSED_SHARE * GUESSED_CONTENTS * np.diag((spread**2).sum(axis=0))
        values, turned = np.linalg.eigh((of_means + guess) / (len(vectors) + GUESSED_CONTENTS))
        order = np.argsort(-values)
        factor = (basis @ turned[:, order]) * np.sqrt(np.maximum(values[order], 1e-12 * values.max()))
        before = model.deviation
        model = replace(model, mean=model.mean + moved, factor=factor)
        if abs(model.deviation - before) <= TOLERANCE * before:
            break
    return model


def _with_slopes(
    model: ReturnModel, evidence: Evidence, vectors: Float[np.ndarray, "contents dim"], draws: np.random.Generator
) -> ReturnModel:
    """Returns the model whose leading directions depend on the vector, or the given one where that does not help for
    contents left out.

    In coordinates a content's evidence is its posterior mean `C h`, which without noise would be its own coordinates
    times `I - C`; so the normal equations of slopes `B` are sums of `x x^T (x) (I - C)` and of `x (C h)^T`.
    """
    number = min(DIRECTIONS, model.factor.shape[1])
    precision, shift = coordinates(model, evidence, np.broadcast_to(model.mean, (len(vectors), model.days)))
    covariance = np.linalg.inv(precision)
    known = (np.eye(precision.shape[1]) - covariance)[:, :number, :number]
    told = (covariance @ shift[..., None])[:, :number, 0]
    centre = vectors.mean(axis=0)
    read = vectors - centre
    size = read.shape[1] * number
    fold = draws.permutation(len(read)) % FOLDS
    matrices, sides = np.zeros((FOLDS, size, size)), np.zeros((FOLDS, size))
    for place in range(FOLDS):
        own = fold == place
        of_fold = np.einsum("cd,ce,cpq->dpeq", read[own], read[own], known[own], optimize=True)
        matrices[place] = of_fold.reshape(size, size)
        sides[place] = (read[own].T @ told[own]).ravel()
    matrix, side, losses = matrices.sum(axis=0), sides.sum(axis=0), []
    for ridge in RIDGES:
        loss = 0.0
        for place in range(FOLDS):
            slopes = np.linalg.solve(matrix - matrices[place] + ridge * np.eye(size), side - sides[place])
            loss += slopes @ matrices[place] @ slopes - 2 * sides[place] @ slopes
        losses.append(loss)
    best = int(np.argmin(losses))
    if losses[best] >= 0:
        return model
    slopes = np.linalg.solve(matrix + RIDGES[best] * np.eye(size), side).reshape(-1, number)
    slopes = slopes @ model.factor[:, :number].T
    return replace(model, mean=model.mean - centre @ slopes, slopes=slopes)
