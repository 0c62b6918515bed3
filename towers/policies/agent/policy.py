"""An agent's policy: a score of each candidate that is linear in what is read of it, and slates drawn by the scores.

The weights of the features depend on the listener, again in a straight line, so `score = context @ weights @ features`.
That is small enough to be trained in minutes and served from numpy, and says of each pick exactly why it was chosen.
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
"""Features that chances are made of."""
_COLUMNS: Final = tuple(FEATURES.index(name) for name in READ)
_CHANCE, _LONG_TERM = FEATURES.index("chance"), FEATURES.index("long_term")
NOWHERE: Final = np.float32(-np.inf)
NO_PENALTIES: Final = Penalties()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A calibrated chance: a logistic regression on features and context.

    Args:
        weights: `[READ]`.
        of_context: `[CONTEXT]`; the first one is the intercept.
    """

    weights: Float[np.ndarray, " features"]
    of_context: Float[np.ndarray, " context"]

    def of(
        self,
        features: Float[np.ndarray, "listeners candidates features"],
        context: Float[np.ndarray, "listeners context"],
    ) -> Float[np.ndarray, "listeners candidates"]:
        """The chance of each candidate, float32."""
        weights = np.zeros(features.shape[-1], np.float32)
        weights[list(_COLUMNS)] = self.weights
        log_odds = features @ weights + (context @ self.of_context.astype(np.float32))[:, None]
        return expit(log_odds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Slates, and how likely each choice was.

    Args:
        slates: `[listeners, slots]`, rows of contents.
        propensities: `[listeners, slots]`, chance of each content in its slot, given the slots before, float64; 1 where
            nothing was drawn.
    """

    slates: Int[np.ndarray, "listeners slots"]
    propensities: Float[np.ndarray, "listeners slots"]


@dataclass(frozen=True, kw_only=True)
class AgentPolicy:
    """Chooses slates by what a service knows of listeners.

    Args:
        contents: what there is.
        weights: `[CONTEXT, FEATURES]`, float64.
        penalties: of contents of an artist or a region that stand in the slate already.
        chance: of a stream of what is picked; null: the feature is 0.
        long_term: `[contents]`, what a stream of each is worth later; null: 0.
        recovery_hours: in which satiation falls to 1/e.
        temperature: of what is drawn: the larger, the more evenly.
        slots: contents of a slate.
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
        """Reads the features."""
        return FeatureReader(self.contents, self.recovery_hours, self.long_term)

    def with_weights(self, weights: Float[np.ndarray, "context features"]) -> "AgentPolicy":
        """Returns a policy with other weights, which shares the feature reader of this one."""
        made = replace(self, weights=weights)
        made.__dict__["reader"] = self.reader
        return made

    def features(self, seen: Seen) -> Float[np.ndarray, "listeners candidates features"]:
        """All features of the candidates, `[listeners, candidates, FEATURES]`, float32."""
        found = self.reader.of(seen)
        if self.chance is not None:
            found[..., _CHANCE] = self.chance.of(found, context_of(seen))
            found[..., _LONG_TERM] *= found[..., _CHANCE]
        return found

    def scores(
        self, features: Float[np.ndarray, "listeners candidates features"], seen: Seen
    ) -> Float[np.ndarray, "listeners candidates"]:
        """The score of each candidate, float32; minus infinity where there is none."""
        of_listener = context_of(seen) @ self.weights.astype(np.float32)
        return np.where(seen["candidates"] >= 0, np.matmul(features, of_listener[..., None])[..., 0], NOWHERE)

    def slot_by_slot(
        self,
        scores: Float[np.ndarray, "listeners candidates"],
        seen: Seen,
        rng: np.random.Generator | None = None,
        chosen: Integer[np.ndarray, "listeners slots"] | None = None,
    ) -> list[Slot]:
        """The slots of a slate for each listener; see `slates.slots_of`."""
        at = np.maximum(seen["candidates"], 0)
        heat = Penalties(
            artist=self.penalties.artist / self.temperature, region=self.penalties.region / self.temperature
        )
        artist, region = self.contents.artist[at], self.contents.region[at]
        return list(slots_of(scores / self.temperature, artist, region, heat, self.slots, rng, chosen))

    def act(self, seen: Seen) -> Int[np.ndarray, "listeners slots"]:
        """The best slate for each listener, slot by slot; nothing is drawn."""
        return self._rows(seen, self.slot_by_slot(self.scores(self.features(seen), seen), seen))

    def draw(self, seen: Seen, rng: np.random.Generator) -> Drawn:
        """A slate drawn for each listener, with its chances."""
        slots = self.slot_by_slot(self.scores(self.features(seen), seen), seen, rng)
        return Drawn(slates=self._rows(seen, slots), propensities=_propensities(slots))

    def chances(
        self, seen: Seen, slates: Integer[np.ndarray, "listeners slots"]
    ) -> Float[np.ndarray, "listeners slots"]:
        """The chance with which `draw` would choose each content of slates in its slot, given the slots before.

        Raises:
            UserError: a content is none of its listener's candidates.
        """
        is_it = (slates[:, :, None] == seen["candidates"][:, None]) & (slates >= 0)[:, :, None]
        if not is_it.any(axis=2).all():
            row = int(slates[~is_it.any(axis=2)][0])
            raise UserError(f"the content row {row} was shown and is none of its listener's candidates")
        slots = self.slot_by_slot(self.scores(self.features(seen), seen), seen, chosen=is_it.argmax(axis=2))
        return _propensities(slots)

    def _rows(self, seen: Seen, slots: list[Slot]) -> Int[np.ndarray, "listeners slots"]:
        places = np.stack([slot.place for slot in slots], axis=1)
        return np.take_along_axis(seen["candidates"], places, axis=1).astype(np.int64)


def _propensities(slots: list[Slot]) -> Float[np.ndarray, "listeners slots"]:
    return np.stack([slot.propensities() for slot in slots], axis=1)


def no_weights() -> Float[np.ndarray, "context features"]:
    """Weights under which all candidates are alike."""
    return np.zeros((len(CONTEXT), len(FEATURES)))
