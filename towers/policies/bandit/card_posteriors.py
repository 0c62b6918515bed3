"""Logistic regressions of many cards at once, each shrunk towards what cards have in common.

The probability of a reward is `sigmoid(x . w + offset)`, with weights `w ~ N(mean, covariance)` of the card. The
likelihood of a card's outcomes is kept as a Gaussian in information form, apart from the prior: batches add to it (by
Laplace's approximation at the mode: Spiegelhalter and Lauritzen 1990; for bandits Chapelle and Li 2011), it fades by
multiplication, and the prior can be re-estimated from all cards at any time (empirical Bayes by EM: Dempster, Laird and
Rubin 1977), which changes the posterior of every card, and of one that has no outcomes yet.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit

NEWTON_STEPS = 20
TOLERANCE = 1e-3
"""Newton's method ends when no logit moves by more than this in a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Likelihoods of the cards' weights without a prior: natural parameters of Gaussians.

    Args:
        precision: `[cards, k, k]`, precision matrices.
        shift: `[cards, k]`, precision times mean.
    """

    precision: Float[np.ndarray, "cards k k"]
    shift: Float[np.ndarray, "cards k"]

    @classmethod
    def none(cls, cards: int, k: int) -> "Evidence":
        """Returns the evidence of cards without outcomes."""
        return cls(precision=np.zeros((cards, k, k)), shift=np.zeros((cards, k)))

    def faded(self, keep: Float[np.ndarray, " cards"]) -> "Evidence":
        """Returns the evidence with each card's multiplied by a share to keep."""
        return Evidence(precision=keep[:, None, None] * self.precision, shift=keep[:, None] * self.shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Outcomes, sorted by card.

    Args:
        cards: `[rows]`, number of the card in the evidence, ascending.
        features: `[rows, k]`, features of the listener.
        offsets: `[rows]`, added to the logit.
        rewards: `[rows]`, 0 to 1.
    """

    cards: Int[np.ndarray, " rows"]
    features: Float[np.ndarray, "rows k"]
    offsets: Float[np.ndarray, " rows"]
    rewards: Float[np.ndarray, " rows"]


def posterior(
    evidence: Evidence, prior_means: Float[np.ndarray, "cards k"], prior_precision: Float[np.ndarray, "k k"]
) -> tuple[Float[np.ndarray, "cards k"], Float[np.ndarray, "cards k k"]]:
    """Returns the posterior means and precisions of the weights."""
    precision = evidence.precision + prior_precision
    shift = evidence.shift + prior_means @ prior_precision
    return np.linalg.solve(precision, shift[..., None])[..., 0], precision


def learned(
    evidence: Evidence,
    batch: Batch,
    prior_means: Float[np.ndarray, "cards k"],
    prior_precision: Float[np.ndarray, "k k"],
) -> Evidence:
    """Returns the evidence with that of a batch added, by Laplace's approximation at the mode of the posterior."""
    seen, starts = np.unique(batch.cards, return_index=True)
    if not len(seen):
        return evidence
    ends = np.append(starts[1:], len(batch.cards))
    before = Evidence(precision=evidence.precision[seen], shift=evidence.shift[seen])
    start, precision = posterior(before, prior_means[seen], prior_precision)
    place = np.repeat(np.arange(len(seen)), ends - starts)
    mode, curvature = start, np.zeros_like(precision)
    for _ in range(NEWTON_STEPS):
        chances = expit((batch.features * mode[place]).sum(axis=1) + batch.offsets)
        slopes = np.add.reduceat(batch.features * (batch.rewards - chances)[:, None], starts)
        roots = batch.features * np.sqrt(chances * (1 - chances))[:, None]
        for at, (first, last) in enumerate(zip(starts, ends, strict=True)):
            curvature[at] = roots[first:last].T @ roots[first:last]
        slopes = slopes + (precision @ (start - mode)[..., None])[..., 0]
        step = np.linalg.solve(precision + curvature, slopes[..., None])[..., 0]
        # The step is damped by how far it moves any logit; with that, Newton's method for logistic regression descends
        # from any start (Sun and Tran-Dinh 2019, "Generalized self-concordant functions", for v = 2).
        moved = np.maximum.reduceat(np.abs((batch.features * step[place]).sum(axis=1)), starts)
        mode = mode + step * (np.log1p(moved) / np.maximum(moved, 1e-12))[:, None]
        if moved.max() < TOLERANCE:
            break
    # The Gaussian with the mode as its mean and the curvature there, less the prior's part.
    whole, shift = evidence.precision.copy(), evidence.shift.copy()
    whole[seen] += curvature
    mean_of_all = ((precision + curvature) @ mode[..., None])[..., 0]
    shift[seen] = mean_of_all - prior_means[seen] @ prior_precision
    return Evidence(precision=whole, shift=shift)


def prior_covariance(
    evidence: Evidence,
    prior_means: Float[np.ndarray, "cards k"],
    covariance: Float[np.ndarray, "k k"],
    guess: Float[np.ndarray, "k k"],
    guess_cards: float,
) -> tuple[Float[np.ndarray, "cards k"], Float[np.ndarray, "k k"]]:
    """Does a step of EM: returns the posterior means under the present prior, and a new covariance of the prior.

    Args:
        evidence: evidence of the cards that have any.
        prior_means: prior means of these cards.
        covariance: present covariance of the prior.
        guess: guess of the covariance before any outcome.
        guess_cards: number of cards that the guess counts as.
    """
    means, precision = posterior(evidence, prior_means, np.linalg.inv(covariance))
    apart = means - prior_means
    total = np.linalg.inv(precision).sum(axis=0) + apart.T @ apart + guess_cards * guess
    return means, (total + total.T) / 2 / (len(means) + guess_cards)


def less_known(
    roots: Float[np.ndarray, "cards k k"], covariance: Float[np.ndarray, "k k"]
) -> Float[np.ndarray, " cards"]:
    """Returns how much less is known of each card than of the median one: 0 for as much or more, 1 for nothing.

    The knowledge of a card is the determinant of its posterior precision, relative to that of the prior.

    Args:
        roots: Cholesky factors of the posterior precisions.
        covariance: covariance of the prior.
    """
    if not len(roots):
        return np.zeros(0)
    prior = -np.linalg.slogdet(covariance)[1]
    precise = 2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    unknown = np.exp(np.minimum(prior - precise, 0) / roots.shape[1])
    typical = np.median(unknown)
    return np.clip((unknown - typical) / max(1 - typical, 1e-9), 0, 1)
