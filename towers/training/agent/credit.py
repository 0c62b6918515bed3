"""Which choices of a slate what follows is credited to: gradients of the logarithm of their chance, in closed form.

A policy that is linear in its features has the gradient `features of the choice - expected features` in every slot
(Williams 1992, "Simple statistical gradient-following algorithms"), so nothing has to be kept for a second pass.
"""

from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Integer

from towers.policies.agent.slates import Slot

PENALTIES: Final = 2
"""Columns behind the features: what stands in the slate already of the artist, and of the region, with a minus."""


@runtime_checkable
class Credit(Protocol):
    """Says where credit goes."""

    def of(
        self,
        slots: Sequence[Slot],
        features: Float[np.ndarray, "listeners candidates features"],
        picked: Integer[np.ndarray, " listeners"],
    ) -> tuple[Float[np.ndarray, "listeners columns"], Float[np.ndarray, " listeners"]]:
        """The gradient by the weights of the features and by the penalties, and what each listener's counts, float32.

        Args:
            slots: of the slates.
            features: of the candidates.
            picked: slot of what each listener picked; -1 where they put something on themselves.
        """
        ...


class WholeSlate:
    """Every slot gets credit: the gradient of the chance of the whole slate, without bias and of much variance."""

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
    """Only what was picked gets credit, by the chance that it is among the slate's `K` at all.

    The gradient of its chance in one draw counts `K (1 - chance) ** (K - 1)` times, so that what will be shown anyway
    is not pushed further (Chen et al. 2019, "Top-K off-policy correction for a REINFORCE recommender system", equation
    6). Where a listener put something on themselves nothing is learned, and of the penalties nothing either.
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
    """The gradient of the logarithm of the chance of what one slot holds, float32."""
    rows, chances = np.arange(len(features)), slot.chances()
    found = np.empty((len(features), features.shape[2] + PENALTIES), np.float32)
    found[:, :-PENALTIES] = features[rows, slot.place] - np.matmul(chances[:, None], features)[:, 0]
    for column, same in ((-2, slot.same_artist), (-1, slot.same_region)):
        found[:, column] = (chances * same).sum(axis=1) - same[rows, slot.place]
    return found
