"""Detection of cards whose rewards no longer match what was learned of them, from a batch of outcomes.

For each card two explanations of its batch are compared: what was learned of it, and the prior of a new card. The Bayes
factor of the two (by Laplace's approximation), against the prior odds, says how likely the card has changed. The rate
of changes is estimated along with it, from all cards of the batch: where most cards that were shown have changed, so
probably have those that were not (a hazard rate by empirical Bayes, for the change points of Adams and MacKay 2007, one
batch at a time).
"""

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from towers.policies.bandit.card_posteriors import Batch, Evidence, learned, posterior

SURPRISE = 4.0
"""Standard deviations by which a card's rewards must be off before the explanations are compared."""
STEPS = 20
PSEUDO_CARDS = 20.0
"""Number of cards that the prior rate of changes counts as."""
MOST = 700.0  # the exponential of a logit is finite up to here


def kept_shares(
    evidence: Evidence,
    batch: Batch,
    prior_means: Float[np.ndarray, "cards k"],
    prior_precision: Float[np.ndarray, "k k"],
    change_chance: float,
) -> Float[np.ndarray, " cards"]:
    """Returns the share of its evidence that each card keeps: the probability that it has not changed.

    Args:
        evidence: evidence before the batch.
        batch: outcomes.
        prior_means: prior means of the weights of each card.
        prior_precision: prior precision of the weights.
        change_chance: prior probability that a card changes between two batches; 0: no card does.
    """
    cards = len(evidence.shift)
    if not change_chance or not len(batch.cards) or not _is_surprising(evidence, batch, prior_means, prior_precision):
        return np.ones(cards)
    seen = np.unique(batch.cards)
    own = Batch(
        cards=np.searchsorted(seen, batch.cards), features=batch.features, offsets=batch.offsets, rewards=batch.rewards
    )
    before = Evidence(precision=evidence.precision[seen], shift=evidence.shift[seen])
    means, none = prior_means[seen], Evidence.none(len(seen), evidence.shift.shape[1])
    for_change = _log_evidence(none, own, means, prior_precision) - _log_evidence(before, own, means, prior_precision)
    rate = change_chance
    changed = np.zeros(len(seen))
    for _ in range(STEPS):
        changed = expit(np.clip(np.log(rate) - np.log1p(-rate) + for_change, -MOST, MOST))
        rate = (changed.sum() + PSEUDO_CARDS * change_chance) / (len(seen) + PSEUDO_CARDS)
    kept = np.full(cards, 1 - rate)
    kept[seen] = 1 - changed
    return kept


def _is_surprising(
    evidence: Evidence,
    batch: Batch,
    prior_means: Float[np.ndarray, "cards k"],
    prior_precision: Float[np.ndarray, "k k"],
) -> bool:
    """Returns whether any card's rewards are far from what was learned of it; if not, no comparison is needed."""
    means, precision = posterior(evidence, prior_means, prior_precision)
    chances = expit((batch.features * means[batch.cards]).sum(axis=1) + batch.offsets)
    cards, k = means.shape
    information = chances * (1 - chances)
    off = np.bincount(batch.cards, batch.rewards - chances, cards)
    # The sum of rewards varies by chance, and because the weights are uncertain.
    slopes = np.stack([np.bincount(batch.cards, information * batch.features[:, at], cards) for at in range(k)], axis=1)
    unknown = (slopes * np.linalg.solve(precision, slopes[..., None])[..., 0]).sum(axis=1)
    spread = np.sqrt(np.bincount(batch.cards, information, cards) + unknown)
    return bool((np.abs(off) > SURPRISE * np.maximum(spread, 0.5)).any())


def _log_evidence(
    before: Evidence,
    batch: Batch,
    prior_means: Float[np.ndarray, "cards k"],
    prior_precision: Float[np.ndarray, "k k"],
) -> Float[np.ndarray, " cards"]:
    """Returns the log marginal likelihood of each card's batch, with the weights integrated out."""
    start, precision = posterior(before, prior_means, prior_precision)
    after = learned(before, batch, prior_means, prior_precision)
    mode, whole = posterior(after, prior_means, prior_precision)
    logits = (batch.features * mode[batch.cards]).sum(axis=1) + batch.offsets
    fits = batch.rewards * logits - np.logaddexp(0, logits)
    apart = mode - start
    distance = (apart * (precision @ apart[..., None])[..., 0]).sum(axis=1)
    narrowed = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(whole)[1]
    return np.bincount(batch.cards, fits, len(start)) + (narrowed - distance) / 2
