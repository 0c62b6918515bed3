"""A carousel on a home page: cards that listeners stream with probabilities known to the world and not to policies.

After Bendada, Salha and Bontempelli, Carousel Personalization in Music Streaming Apps with Contextual Bandits (RecSys
2020). A listener streams a card with the chance `sigmoid(weights . vector + bias)` of the card's weights and bias and
the listener's vector.

The listener scans a slate from its first slot on, wants each card or not with its own chance, streams the first wanted
one, and leaves: a slate has at most one stream, as in the published experiment, where a listener with several streams
has come several times. So a slate's expected streams are `1 - product of (1 - chance)` in any order of its cards, and
its regret is the difference to the slate of the listener's best cards.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from towers.contract.durations import DAY_US
from towers.contract.policy import Candidates, Context
from towers.contract.slate import NOTHING

SCORES_AT_ONCE = 8_000_000
FIRST_DAY_US = 1_767_225_600_000_000  # 2026-01-01, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """The cards of the world at one time, with the parameters of their streams.

    Args:
        rows: `[cards]`, row of each card in the world, which is never reused.
        ids: ids of the cards by row, including those that are gone.
        weights: `[cards, dim]`.
        biases: `[cards]`.
        kinds: `[cards]`, index into `schema.KINDS`.
        vectors: `[cards, known]`, vectors that policies know; null: none.
    """

    rows: Int[np.ndarray, " cards"]
    ids: tuple[str, ...]
    weights: Float[np.ndarray, "cards dim"]
    biases: Float[np.ndarray, " cards"]
    kinds: Int[np.ndarray, " cards"]
    vectors: Float[np.ndarray, "cards known"] | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The listeners of the world.

    Args:
        ids: ids of the listeners.
        vectors: `[listeners, dim]`, vectors that policies know.
        segments: `[listeners]`, segment of each listener, from 0.
    """

    ids: tuple[str, ...]
    vectors: Float[np.ndarray, "listeners dim"]
    segments: Int[np.ndarray, " listeners"]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carousel:
    """Cards and listeners of a world, with the true parameters of both.

    Args:
        cards: cards that can be shown.
        listeners: listeners that look at them.
        slots: slots of the best slate, which regret is measured against.
    """

    cards: Cards
    listeners: Listeners
    slots: int = 12
    _best: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def known(self) -> Float[np.ndarray, "cards known"]:
        """`[cards, known]`, vectors of the cards that policies know; zero columns where they know none."""
        vectors = self.cards.vectors
        return np.zeros((len(self.cards), 0), np.float32) if vectors is None else vectors

    def candidates(self) -> Candidates:
        """Returns the cards as policies see them: kinds and vectors, without weights."""
        return Candidates(content_rows=self.cards.rows, vectors=self.known, kinds=self.cards.kinds)

    def context(self, listeners: Int[np.ndarray, " asked"], number: int) -> Context:
        """Returns the listeners as policies see them; a round is a day, from 0."""
        return Context(
            user_vectors=self.listeners.vectors[listeners],
            segments=self.listeners.segments[listeners],
            times_us=np.full(len(listeners), FIRST_DAY_US + number * DAY_US),
        )

    def places(self, rows: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Returns the places in `cards` of cards by their rows; the row `NOTHING` stays `NOTHING`."""
        place_of = np.full(len(self.cards.ids) + 1, NOTHING)  # the last entry is for NOTHING
        place_of[self.cards.rows] = np.arange(len(self.cards))
        return place_of[rows]

    def chances(
        self, listeners: Int[np.ndarray, " asked"], places: Int[np.ndarray, "asked slots"]
    ) -> Float[np.ndarray, "asked slots"]:
        """Returns the chance that a listener wants a card; 0 for `NOTHING`."""
        logits = np.einsum("ask,ak->as", self.cards.weights[places], self.listeners.vectors[listeners])
        return np.where(places == NOTHING, 0.0, expit(logits + self.cards.biases[places]))

    def best(self, listeners: Int[np.ndarray, " asked"]) -> Int[np.ndarray, "asked slots"]:
        """Returns the places of each listener's best cards, best first; computed once and cached."""
        depth = min(self.slots, len(self.cards))
        if not self._best:
            self._best["places"] = np.full((len(self.listeners), depth), NOTHING, dtype=np.int32)
        kept = self._best["places"]
        missing = np.unique(listeners[kept[listeners, 0] == NOTHING])
        at_once = max(1, SCORES_AT_ONCE // len(self.cards))
        for start in range(0, len(missing), at_once):
            some = missing[start : start + at_once]
            logits = self.listeners.vectors[some] @ self.cards.weights.T + self.cards.biases
            top = np.argpartition(-logits, depth - 1, axis=1)[:, :depth]
            order = np.argsort(-np.take_along_axis(logits, top, axis=1), axis=1)
            kept[some] = np.take_along_axis(top, order, axis=1)
        return kept[listeners].astype(np.int64)


def expected_streams(chances: Float[np.ndarray, "asked slots"]) -> Float[np.ndarray, " asked"]:
    """Returns the chance that any card of a slate is streamed."""
    return 1 - np.prod(1 - chances, axis=1)


def streams(
    chances: Float[np.ndarray, "asked slots"], generator: np.random.Generator
) -> Bool[np.ndarray, "asked slots"]:
    """Draws what each listener streams: the first wanted card, or none."""
    is_wanted = generator.random(chances.shape) < chances
    return is_wanted & (np.cumsum(is_wanted, axis=1) == 1)
