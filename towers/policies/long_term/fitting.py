"""Fits what is known of contents before anybody discovers them, and of listeners about them: empirical Bayes."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from towers.errors import DataLacks
from towers.policies.long_term.noise import moments_of
from towers.policies.long_term.outcomes import DelayedOutcomes
from towers.policies.long_term.progressive import Evidence, ReturnModel, coordinates, evidence_of

RANK, DIRECTIONS = 12, 3
"""Directions of outcomes in which contents differ most, and the first of them, which depend on the vector."""
FIRST_DAYS = (1, 3, 7, 14, 30)
"""Returns of so many days are read right, however contents differ."""
GUESSED_SHARE, GUESSED_CONTENTS = 0.01, 5.0
"""Beforehand contents' means are thought to vary by so much of what listeners vary by, and that counts as so many
contents."""
AT_MOST_CONTENTS, AT_MOST_PAIRS = 5_000, 200_000
"""Contents and discoveries that the model is fitted on; of more, so many are drawn."""
ROUNDS, TOLERANCE = 100, 1e-3
"""Steps of EM at most, and the relative change of the variance of contents' returns below which they end."""
RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
FOLDS = 5
MIN_PAIRS = 100
"""A day is in the outcome if so many discoveries are old enough for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model, and what it was fitted on.

    Args:
        model: of as many days as the outcomes allow.
        pairs: discoveries with a day that is over.
        contents: of these.
        mean_outcome: over contents.
        explained: share of the variance of contents' returns that the vector tells; 0 where it tells nothing of
            contents which the fit has not seen, and is not read.
    """

    model: ReturnModel
    pairs: int
    contents: int
    mean_outcome: Float[np.ndarray, " days"]
    explained: float


def days_known(observed: Int[np.ndarray, " pairs"], most: int) -> int:
    """How many days of an outcome are over for `MIN_PAIRS` discoveries or more, at most `most`."""
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

    How listeners lie about their content comes from moments (`noise.moments_of`). How contents' means differ comes
    from EM in some directions, among them those in which moments say that they differ most; how it depends on the
    vector from generalised least squares with a ridge, chosen by cross-validation over contents.

    Args:
        outcomes: of the training period.
        vectors: in the space, by content row.
        weights: what each day of coming back counts in the return; null: 1.
        least_days: of an outcome that is worth while.
        seed: of what is drawn where there is too much.

    Raises:
        DataLacks: too few discoveries are `least_days` old, or nobody ever came back.
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
        raise DataLacks("nobody came back to anything that they had discovered")
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
    """Where EM starts: directions, each with some variance. They are those in which the moments say that contents
    differ most, and the mean outcome.

    What lies outside of them counts as noise, and would bias a content's return however many discovered it. With `V w`
    among them, of the covariance `V` within contents and of weights `w`, it does not: what is left of the outcome is
    orthogonal to them in the metric of `V^-1`, so its return is 0. So are the returns of the first days.
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
    """The model with the mean and the covariance of contents' means at which EM ends; the span of `factor` stays."""
    noise = np.linalg.inv(model.whitening)
    prior = model.mean + vectors @ model.slopes
    for _ in range(ROUNDS):
        precision, shift = coordinates(model, evidence, prior)
        covariance = np.linalg.inv(precision)
        # Of the mean the best estimate at the present covariance (generalised least squares), as EM's own step is slow.
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
    """The model whose leading directions depend on the vector; itself where that helps with no content left out.

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
