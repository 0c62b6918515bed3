"""Slates drawn slot by slot by a Plackett-Luce model with penalties for what is in the slate already.

In each slot every candidate that is left is drawn in proportion to the exponential of its score, less a penalty for
each content of its artist and of its region in the earlier slots (Plackett 1975, "The analysis of permutations").
Without penalties this is the plain model. The probability of a whole slate is exactly the product of the probabilities
of its slots.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer

_NEVER: Final = np.float32(-1e30)
_LEAST: Final = np.float32(1e-30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalties:
    """Penalties on a score for each content that is in the slate already.

    Args:
        artist: penalty for each content of the same artist.
        region: penalty for each content of the same region.
    """

    artist: float = 0.0
    region: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A slot, for the slates of many listeners.

    Args:
        scores: `[listeners, candidates]`, less penalties, float32; a huge negative number where nothing can be chosen.
        same_artist: `[listeners, candidates]`, number of contents of the candidate's artist in the earlier slots.
        same_region: `[listeners, candidates]`, number of contents of the candidate's region in the earlier slots.
        place: `[listeners]`, place of the chosen candidate.
    """

    scores: Float[np.ndarray, "listeners candidates"]
    same_artist: Float[np.ndarray, "listeners candidates"]
    same_region: Float[np.ndarray, "listeners candidates"]
    place: Int[np.ndarray, " listeners"]

    def chances(self) -> Float[np.ndarray, "listeners candidates"]:
        """Returns the probability of each candidate to be drawn in this slot."""
        weight = np.exp(self.scores - self.scores.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)

    def propensities(self) -> Float[np.ndarray, " listeners"]:
        """Returns the probability of the chosen candidate, given the earlier slots; float64."""
        return np.exp(log_chances(self.scores, self.place))


def log_chances(
    scores: Float[np.ndarray, "listeners candidates"], place: Integer[np.ndarray, " listeners"]
) -> Float[np.ndarray, " listeners"]:
    """Returns the logarithm of the softmax of the scores at one place of each row, float64."""
    top = scores.max(axis=1)
    total = np.exp(scores - top[:, None]).sum(axis=1, dtype=np.float64)
    return scores[np.arange(len(scores)), place].astype(np.float64) - top - np.log(total)


def slots_of(
    scores: Float[np.ndarray, "listeners candidates"],
    artist: Integer[np.ndarray, "listeners candidates"],
    region: Integer[np.ndarray, "listeners candidates"],
    penalties: Penalties,
    number: int,
    rng: np.random.Generator | None = None,
    chosen: Integer[np.ndarray, "listeners slots"] | None = None,
) -> Iterator[Slot]:
    """Fills slates slot by slot.

    Args:
        scores: scores of the candidates, divided by the temperature; minus infinity in empty places.
        artist: artist codes of the candidates; a negative code is unknown and equals no other.
        region: region numbers of the candidates; negative in none, which equals no other.
        penalties: what scores lose for contents in the slate already.
        number: number of slots, at most the number of candidates.
        rng: source of the draws; null: the best candidate is taken in each slot.
        chosen: places of candidates to take slot by slot, instead of choosing.
    """
    rows = np.arange(len(scores))
    left = np.maximum(scores, _NEVER).astype(np.float32)
    same_artist, same_region = np.zeros_like(left), np.zeros_like(left)
    for slot in range(number):
        if slot:
            lost = np.float32(penalties.artist) * same_artist + np.float32(penalties.region) * same_region
            now = np.where(left <= _NEVER, _NEVER, left - lost)
        else:
            now = left.copy()
        if chosen is not None:
            place = chosen[:, slot]
        elif rng is not None:
            place = (now - np.log(np.maximum(rng.standard_exponential(now.shape, np.float32), _LEAST))).argmax(axis=1)
        else:
            place = now.argmax(axis=1)
        yield Slot(scores=now, same_artist=same_artist.copy(), same_region=same_region.copy(), place=place)
        left[rows, place] = _NEVER
        for same, code in ((same_artist, artist), (same_region, region)):
            own = code[rows, place]
            same += (code == own[:, None]) & (own >= 0)[:, None]
