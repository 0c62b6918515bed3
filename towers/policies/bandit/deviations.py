"""Deviations of each segment's logit of a card from the card's common logit, shrunk towards 0."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

LEAST_VARIANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviations:
    """Gaussians of the deviations in information form without their prior, and the prior's variance.

    Args:
        precision: `[cards, segments]`, precisions.
        shift: `[cards, segments]`, precision times mean.
        variance: prior variance of deviations around 0, estimated from all of them.
    """

    precision: Float[np.ndarray, "cards segments"]
    shift: Float[np.ndarray, "cards segments"]
    variance: float

    @classmethod
    def none(cls, cards: int, segments: int, variance: float) -> "Deviations":
        """Returns the deviations of cards without outcomes."""
        return cls(precision=np.zeros((cards, segments)), shift=np.zeros((cards, segments)), variance=variance)

    def grown(self, order: Int[np.ndarray, " cards"]) -> "Deviations":
        """Returns a copy with new cards appended and all cards then reordered."""
        more = np.zeros((len(order) - len(self.precision), self.precision.shape[1]))
        precision, shift = np.concatenate([self.precision, more]), np.concatenate([self.shift, more])
        return Deviations(precision=precision[order], shift=shift[order], variance=self.variance)

    def faded(self, keep: Float[np.ndarray, " cards"]) -> "Deviations":
        """Returns a copy with each card's evidence multiplied by a share to keep."""
        precision, shift = keep[:, None] * self.precision, keep[:, None] * self.shift
        return Deviations(precision=precision, shift=shift, variance=self.variance)

    def means(self, cards: Int[np.ndarray, " rows"], segments: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Returns the mean deviation of a card in a segment; 0 where the segment is below 0."""
        is_known = segments >= 0
        means = np.zeros(len(cards))
        at = (cards[is_known], segments[is_known])
        means[is_known] = self.shift[at] / (self.precision[at] + 1 / self.variance)
        return means

    def draws(self, segment: int, noise: Float[np.ndarray, "members cards"]) -> Float[np.ndarray, "members cards"]:
        """Draws deviations in one segment from the posterior, by standard normal noise."""
        precision = self.precision[:, segment] + 1 / self.variance
        return self.shift[:, segment] / precision + noise / np.sqrt(precision)

    def learned(
        self,
        cards: Int[np.ndarray, " rows"],
        segments: Int[np.ndarray, " rows"],
        chances: Float[np.ndarray, " rows"],
        rewards: Float[np.ndarray, " rows"],
    ) -> "Deviations":
        """Returns a copy with a batch's evidence added, by a Newton step from the present means, and a new variance.

        Args:
            cards: number of the card in the arrays.
            segments: segments of the listeners; rows below 0 are ignored.
            chances: probability of a reward, with the present means included.
            rewards: rewards, 0 to 1.
        """
        information = chances * (1 - chances)
        slopes = rewards - chances + information * self.means(cards, segments)
        is_known, shape = segments >= 0, self.precision.shape
        at = cards[is_known] * shape[1] + segments[is_known]
        size = shape[0] * shape[1]
        precision = self.precision + np.bincount(at, information[is_known], size).reshape(shape)
        shift = self.shift + np.bincount(at, slopes[is_known], size).reshape(shape)
        is_told = precision > 0
        spread = 1 / (precision[is_told] + 1 / self.variance)
        squares = spread + (shift[is_told] * spread) ** 2
        variance = max(float(squares.mean()), LEAST_VARIANCE) if len(squares) else self.variance
        return Deviations(precision=precision, shift=shift, variance=variance)
