"""A carousel on a home page: cards that listeners stream with chances that the world knows and policies do not.

In the manner of Bendada, Salha and Bontempelli, Carousel Personalization in Music Streaming Apps with Contextual
Bandits (RecSys 2020). A listener streams a card with the chance `sigmoid(weights . vector + bias)`, of the card's
weights and bias and the listener's vector.

The listener scans a slate from its first slot on, wants each card or not by its own chance, streams the first that he
wants, and is gone: a slate has at most one stream, as in the published experiment, where whoever streams more has
come more than once. So a slate's expected streams are `1 - product of (1 - chance)`, in whatever order its cards stand,
and its regret is what the best cards of the same listener would have had more.
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
    """The cards of one time, and what makes listeners stream them.

    Args:
        rows: `[cards]`, the row of each in the world, which no other card ever has.
        ids: of the cards, by row; also of those that are gone.
        weights: `[cards, dim]`.
        biases: `[cards]`.
        kinds: `[cards]`, index into `schema.KINDS`.
        vectors: `[cards, known]`, what policies are told of each; null: nothing.
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
    """Who comes.

    Args:
        ids: of the listeners.
        vectors: `[listeners, dim]`, what policies are told.
        segments: `[listeners]`, the group that each belongs to, from 0.
    """

    ids: tuple[str, ...]
    vectors: Float[np.ndarray, "listeners dim"]
    segments: Int[np.ndarray, " listeners"]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carousel:
    """Cards and listeners, with the truth about both.

    Args:
        cards: that can be shown.
        listeners: who look at them.
        slots: of the best slate, against which regret is counted.
    """

    cards: Cards
    listeners: Listeners
    slots: int = 12
    _best: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def known(self) -> Float[np.ndarray, "cards known"]:
        """`[cards, known]`, the vectors that policies are told of; without columns where that is nothing."""
        vectors = self.cards.vectors
        return np.zeros((len(self.cards), 0), np.float32) if vectors is None else vectors

    def candidates(self) -> Candidates:
        """The cards as policies are told of them: their kinds and vectors, and nothing of their weights."""
        return Candidates(content_rows=self.cards.rows, vectors=self.known, kinds=self.cards.kinds)

    def context(self, listeners: Int[np.ndarray, " asked"], number: int) -> Context:
        """The listeners as policies are told of them; a round is a day, from 0."""
        return Context(
            user_vectors=self.listeners.vectors[listeners],
            segments=self.listeners.segments[listeners],
            times_us=np.full(len(listeners), FIRST_DAY_US + number * DAY_US),
        )

    def places(self, rows: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Where cards stand in `cards`, by their rows; the row `NOTHING` stays what it is."""
        place_of = np.full(len(self.cards.ids) + 1, NOTHING)  # the last is that of NOTHING
        place_of[self.cards.rows] = np.arange(len(self.cards))
        return place_of[rows]

    def chances(
        self, listeners: Int[np.ndarray, " asked"], places: Int[np.ndarray, "asked slots"]
    ) -> Float[np.ndarray, "asked slots"]:
        """The chance that a listener wants a card; 0 of `NOTHING`."""
        logits = np.einsum("ask,ak->as", self.cards.weights[places], self.listeners.vectors[listeners])
        return np.where(places == NOTHING, 0.0, expit(logits + self.cards.biases[places]))

    def best(self, listeners: Int[np.ndarray, " asked"]) -> Int[np.ndarray, "asked slots"]:
        """Places of each listener's best cards, best first: found when first asked for, and kept."""
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
    """The chance that anything of a slate is streamed."""
    return 1 - np.prod(1 - chances, axis=1)


def streams(
    chances: Float[np.ndarray, "asked slots"], generator: np.random.Generator
) -> Bool[np.ndarray, "asked slots"]:
    """What each listener streams: the first card that he wants, or nothing."""
    is_wanted = generator.random(chances.shape) < chances
    return is_wanted & (np.cumsum(is_wanted, axis=1) == 1)
