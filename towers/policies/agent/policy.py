"""An agent's policy: a linear score of each candidate, and slates drawn by the scores.

The weights of the features depend linearly on the listener: `score = context @ weights @ features`. That is small
enough to be trained in minutes and served from numpy, and it says exactly why each pick was chosen.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer
from scipy.special import expit

from towers.errors import UserError
from towers.policies.agent.features import CONTEXT, FEATURES, Contents, FeatureReader, Seen, context_of
from towers.policies.agent.slates import Penalties, Slot, slots_of

READ: Final = tuple(name for name in FEATURES if name not in ("chance", "long_term"))
"""Features that probabilities of a stream are predicted from."""
_COLUMNS: Final = tuple(FEATURES.index(name) for name in READ)
_CHANCE, _LONG_TERM = FEATURES.index("chance"), FEATURES.index("long_term")
NOWHERE: Final = np.float32(-np.inf)
NO_PENALTIES: Final = Penalties()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A calibrated probability of a stream: a logistic regression on features and context.

    Args:
        weights: `[READ]`, coefficients of the features.
        of_context: `[CONTEXT]`, coefficients of the context; the first one is the intercept.
    """

    weights: Float[np.ndarray, " features"]
    of_context: Float[np.ndarray, " context"]

    def of(
        self,
        features: Float[np.ndarray, "listeners candidates features"],
        context: Float[np.ndarray, "listeners context"],
    ) -> Float[np.ndarray, "listeners candidates"]:
        """Returns the probability of a stream of each candidate, float32."""
        weights = np.zeros(features.shape[-1], np.float32)
        weights[list(_COLUMNS)] = self.weights
        log_odds = features @ weights + (context @ self.of_context.astype(np.float32))[:, None]
        return expit(log_odds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Slates with the probability of each choice.

    Args:
        slates: `[listeners, slots]`, rows of contents.
        propensities: `[listeners, slots]`, probability of each content in its slot given the earlier slots, float64; 1
            where nothing was drawn.
    """

    slates: Int[np.ndarray, "listeners slots"]
    propensities: Float[np.ndarray, "listeners slots"]


@dataclass(frozen=True, kw_only=True)
class AgentPolicy:
    """A policy that chooses slates by what a service knows of listeners.

    Args:
        contents: contents to choose from.
        weights: `[CONTEXT, FEATURES]`, float64.
        penalties: what a score loses for contents of its artist or region that are in the slate already.
        chance: model of the probability that a pick is streamed; null: the feature is 0.
        long_term: `[contents]`, what a stream of each content is worth later; null: 0.
        recovery_hours: hours in which satiation falls to 1/e.
        temperature: temperature of the softmax that slates are drawn by; the larger, the more even.
        slots: number of contents in a slate.
    """

    contents: Contents
    weights: Float[np.ndarray, "context features"]
    penalties: Penalties = NO_PENALTIES
    chance: Chance | None = None
    long_term: Float[np.ndarray, " contents"] | None = None
    recovery_hours: float = 2.0
    temperature: float = 1.0
    slots: int = 10

    @cached_property
    def reader(self) -> FeatureReader:
        """The reader of the features, built once."""
        return FeatureReader(self.contents, self.recovery_hours, self.long_term)

    def with_weights(self, weights: Float[np.ndarray, "context features"]) -> "AgentPolicy":
        """Returns a policy with other weights, which shares the feature reader of this one."""
        made = replace(self, weights=weights)
        made.__dict__["reader"] = self.reader
        return made

    def features(self, seen: Seen) -> Float[np.ndarray, "listeners candidates features"]:
        """Returns all features of the candidates, `[listeners, candidates, FEATURES]`, float32."""
        found = self.reader.of(seen)
        if self.chance is not None:
            found[..., _CHANCE] = self.chance.of(found, context_of(seen))
            found[..., _LONG_TERM] *= found[..., _CHANCE]
        return found

    def scores(
        self, features: Float[np.ndarray, "listeners candidates features"], seen: Seen
    ) -> Float[np.ndarray, "listeners candidates"]:
        """Returns the score of each candidate, float32; minus infinity in empty places."""
        of_listener = context_of(seen) @ self.weights.astype(np.float32)
        return np.where(seen["candidates"] >= 0, np.matmul(features, of_listener[..., None])[..., 0], NOWHERE)

    def slot_by_slot(
        self,
        scores: Float[np.ndarray, "listeners candidates"],
        seen: Seen,
        rng: np.random.Generator | None = None,
        chosen: Integer[np.ndarray, "listeners slots"] | None = None,
    ) -> list[Slot]:
        """Fills the slots of a slate for each listener; see `slates.slots_of`."""
        at = np.maximum(seen["candidates"], 0)
        heat = Penalties(
            artist=self.penalties.artist / self.temperature, region=self.penalties.region / self.temperature
        )
        artist, region = self.contents.artist[at], self.contents.region[at]
        return list(slots_of(scores / self.temperature, artist, region, heat, self.slots, rng, chosen))

    def act(self, seen: Seen) -> Int[np.ndarray, "listeners slots"]:
        """Returns the best slate for each listener, chosen slot by slot without randomness."""
        return self._rows(seen, self.slot_by_slot(self.scores(self.features(seen), seen), seen))

    def draw(self, seen: Seen, rng: np.random.Generator) -> Drawn:
        """Draws a slate for each listener, with the probability of each choice."""
        slots = self.slot_by_slot(self.scores(self.features(seen), seen), seen, rng)
        return Drawn(slates=self._rows(seen, slots), propensities=_propensities(slots))

    def chances(
        self, seen: Seen, slates: Integer[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots"]:
        """Returns the probability with which `draw` would choose each content of given slates, given the earlier slots.

        Raises:
            UserError: a content is not among its listener's candidates.
        """
        is_it = (slates[:, :, None] == seen["candidates"][:, None]) & (slates >= 0)[:, :, None]
        if not is_it.any(axis=2).all():
            row = int(slates[~is_it.any(axis=2)][0])
            raise UserError(f"the content row {row} was shown and is not among its listener's candidates")
        slots = self.slot_by_slot(self.scores(self.features(seen), seen), seen, chosen=is_it.argmax(axis=2))
        return _propensities(slots)

    def _rows(self, seen: Seen, slots: list[Slot]) -> Int[np.ndarray, "listeners slots"]:
        places = np.stack([slot.place for slot in slots], axis=1)
        return np.take_along_axis(seen["candidates"], places, axis=1).astype(np.int64)


def _propensities(slots: list[Slot]) -> Float[np.ndarray, "listeners slots"]:
    return np.stack([slot.propensities() for slot in slots], axis=1)


def no_weights() -> Float[np.ndarray, "context features"]:
    """Returns zero weights, under which all candidates are equal."""
    return np.zeros((len(CONTEXT), len(FEATURES)))
