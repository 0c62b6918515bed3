"""Bootstrap intervals of figures of a sample of listeners: whole listeners are resampled (Efron 1979)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Weights of each listener and each member of an ensemble in each draw; the first row is the sample itself.

    Args:
        listeners: `[draws, listeners]`.
        members: `[draws, members]`; rows sum to 1.
        halves: `[splits, listeners]`, 1 for a random half of the listeners and 0 for the others.
    """

    listeners: Float[np.ndarray, "draws listeners"]
    members: Float[np.ndarray, "draws members"]
    halves: Float[np.ndarray, "splits listeners"]

    def among(self, keep: Bool[np.ndarray, " listeners"]) -> "Draws":
        """Returns these bootstrap draws restricted to some listeners."""
        return Draws(listeners=self.listeners * keep, members=self.members, halves=self.halves * keep)


def draws(listeners: int, members: int, *, resamples: int, splits: int, seed: int) -> Draws:
    """Draws listeners and members with replacement, and random halves of the listeners.

    Args:
        listeners: number of listeners.
        members: number of members of the ensemble.
        resamples: number of draws besides the sample itself.
        splits: number of random halves.
        seed: seed of the draws.
    """
    generator = np.random.default_rng(seed)
    of_listeners = generator.multinomial(listeners, np.full(listeners, 1 / listeners), size=resamples)
    of_members = generator.multinomial(members, np.full(members, 1 / members), size=resamples) / members
    halves = generator.permuted(np.tile(np.arange(listeners) % 2, (splits, 1)), axis=1)
    return Draws(
        listeners=np.concatenate([np.ones((1, listeners)), of_listeners.astype(np.float64)]),
        members=np.concatenate([np.full((1, members), 1 / members), of_members]),
        halves=halves.astype(np.float64),
    )


def bounds(drawn: Float[np.ndarray, "draws ..."]) -> Float[np.ndarray, "2 ..."]:
    """Returns the 95 % bounds of a figure from its values in the draws; the first draw is the sample itself.

    The bounds are percentiles of the draws, shifted by the distance between their median and the figure: a distance
    such as KS grows with the noise of a draw, so plain percentiles would be too high. NaN where no draw has a value.
    """
    figure, others = drawn[0], drawn[1:]
    if not len(others):
        return np.stack([figure, figure])
    known = np.isfinite(others)
    filled = np.where(known.any(axis=0), others, 0.0)
    low, middle, high = np.nanquantile(filled, (TAILS[0], 0.5, TAILS[1]), axis=0)
    found = np.stack([figure + low - middle, figure + high - middle])
    return np.where(known.any(axis=0), found, np.nan)
