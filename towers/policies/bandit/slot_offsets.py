"""Offsets of slots: what a slot adds to the logit of a reward, beyond the card that is in it."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit

SPREAD = 3.0
"""Prior standard deviation of an offset."""
STEPS, TOLERANCE = 30, 1e-3
"""Newton's method: the most steps, and the change of a logit at which it ends."""


def slot_offsets(
    before: Float[np.ndarray, " slots"],
    logits: Float[np.ndarray, " rows"],
    slots: Int[np.ndarray, " rows"],
    rewards: Float[np.ndarray, " rows"],
    always_seen: int,
) -> Float[np.ndarray, " slots"]:
    """Returns offsets that make the logits fit the rewards of a batch, slot by slot; those of the first slots are 0.

    A common error of the logits in the first slots, where every listener looks, is attributed to the cards, not the
    slots.

    Args:
        before: offsets to keep for slots without a row in the batch.
        logits: logit of each row, by its card and listener.
        slots: slot of each row, below the number of offsets.
        rewards: rewards, 0 to 1.
        always_seen: number of first slots, which have no offset.
    """
    is_first = slots < always_seen
    of_all = _offset(logits[is_first], rewards[is_first]) if is_first.any() else 0.0
    offsets = before.copy()
    for slot in np.unique(slots[~is_first]):
        own = slots == slot
        offsets[slot] = _offset(logits[own] + of_all, rewards[own])
    return offsets


def _offset(logits: Float[np.ndarray, " rows"], rewards: Float[np.ndarray, " rows"]) -> float:
    """Returns the most likely offset, under a Gaussian prior around 0."""
    offset = 0.0
    for _ in range(STEPS):
        chances = expit(logits + offset)
        slope = (rewards - chances).sum() - offset / SPREAD**2
        step = slope / ((chances * (1 - chances)).sum() + 1 / SPREAD**2)
        offset += float(np.clip(step, -1, 1))  # where few rewards are left to explain, Newton's own step is too long
        if abs(step) < TOLERANCE:
            break
    return offset
