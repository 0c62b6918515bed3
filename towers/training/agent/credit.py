"""Credit assignment for slates: closed-form gradients of the log-probability of a slate's choices.

A policy that is linear in its features has the gradient `features of the choice - expected features` in every slot
(Williams 1992, "Simple statistical gradient-following algorithms"), so no second pass over the data is needed.
"""

from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Integer

from towers.policies.agent.slates import Slot

PENALTIES: Final = 2
"""Columns after the features: contents of the same artist, and of the same region, already in the slate; negative."""


@runtime_checkable
class Credit(Protocol):
    """A rule that assigns credit for what follows to the choices of a slate."""

    def of(
        self,
        slots: Sequence[Slot],
        features: Float[np.ndarray, "listeners candidates features"],
        picked: Integer[np.ndarray, " listeners"],
    ) -> tuple[Float[np.ndarray, "listeners columns"], Float[np.ndarray, " listeners"]]:
        """Returns gradients by the features' weights and the penalties, and the weight of each listener, float32.

        Args:
            slots: slots of the slates, in order.
            features: features of the candidates.
            picked: slot of the content that each listener picked; -1 for a content outside the slate.
        """
        ...


class WholeSlate:
    """Credit for every slot: the gradient of the log-probability of the whole slate; unbiased, with high variance."""

    def of(
        self,
        slots: Sequence[Slot],
        features: Float[np.ndarray, "listeners candidates features"],
        picked: Integer[np.ndarray, " listeners"],
    ) -> tuple[Float[np.ndarray, "listeners columns"], Float[np.ndarray, " listeners"]]:
        """See `Credit.of`."""
        total = np.zeros((len(features), features.shape[2] + PENALTIES), np.float32)
        for slot in slots:
            total += gradient(slot, features)
        return total, np.ones(len(total), np.float32)


class TopK:
    """Credit for the picked content only, by the probability that it is among the slate's `K` at all.

    The gradient of its log-probability in one draw is weighted by `K (1 - chance) ** (K - 1)`, so that a content that
    is nearly certain to be shown is not pushed further (Chen et al. 2019, "Top-K off-policy correction for a REINFORCE
    recommender system", equation 6). Plays from outside the slate have weight 0, and penalties get no gradient.
    """

    def of(
        self,
        slots: Sequence[Slot],
        features: Float[np.ndarray, "listeners candidates features"],
        picked: Integer[np.ndarray, " listeners"],
    ) -> tuple[Float[np.ndarray, "listeners columns"], Float[np.ndarray, " listeners"]]:
        """See `Credit.of`."""
        rows, first = np.arange(len(features)), slots[0]
        place = np.stack([slot.place for slot in slots], axis=1)[rows, np.maximum(picked, 0)]
        chances = first.chances()
        correction = len(slots) * (1.0 - chances[rows, place]) ** (len(slots) - 1)
        found = np.zeros((len(features), features.shape[2] + PENALTIES), np.float32)
        found[:, :-PENALTIES] = features[rows, place] - np.matmul(chances[:, None], features)[:, 0]
        return found, (correction * (picked >= 0)).astype(np.float32)


def gradient(
    slot: Slot, features: Float[np.ndarray, "listeners candidates features"]
) -> Float[np.ndarray, "listeners columns"]:
    """Returns the gradient of the log-probability of the content in one slot, float32."""
    rows, chances = np.arange(len(features)), slot.chances()
    found = np.empty((len(features), features.shape[2] + PENALTIES), np.float32)
    found[:, :-PENALTIES] = features[rows, slot.place] - np.matmul(chances[:, None], features)[:, 0]
    for column, same in ((-2, slot.same_artist), (-1, slot.same_region)):
        found[:, column] = (chances * same).sum(axis=1) - same[rows, slot.place]
    return found
