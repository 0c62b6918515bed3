"""Changes of a carousel world between its rounds: cards that come and go, and tastes that change.

New cards are drawn from the normal distribution fitted to the world's cards, so that they are neither better nor worse
than those; their kinds are drawn from the kinds of those cards.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from towers.simulation.carousel.world import Cards, Carousel


@runtime_checkable  # for the tests, which check annotations at run time
class Change(Protocol):
    """A change of the world before one of its rounds."""

    @property
    def before_round(self) -> int:
        """Round before which the change happens, from 0."""
        ...

    def applied(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """Returns the world after the change."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCards:
    """A change that adds new cards.

    Args:
        before_round: round before which they enter, from 0.
        cards: number of new cards.
    """

    before_round: int
    cards: int

    def applied(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """Returns the world after the change."""
        return _with_cards(world, np.arange(len(world.cards)), self.cards, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedCards:
    """A change that replaces a share of the cards with new ones.

    Args:
        before_round: round before which it happens, from 0.
        share: share of the cards that are replaced.
    """

    before_round: int
    share: float = 0.5

    def applied(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """Returns the world after the change."""
        cards = len(world.cards)
        gone = round(self.share * cards)
        staying = np.sort(generator.permutation(cards)[gone:])
        return _with_cards(world, staying, gone, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedTastes:
    """A change after which listeners take each card for another one: weights and biases are permuted among cards.

    The vectors that policies know stay as they were, so all that they learned about these cards is wrong.

    Args:
        before_round: round before which it happens, from 0.
        share: share of the cards that are permuted.
    """

    before_round: int
    share: float = 1.0

    def applied(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """Returns the world after the change."""
        cards = world.cards
        turned = generator.permutation(len(cards))[: round(self.share * len(cards))]
        source = np.arange(len(cards))
        source[turned] = np.roll(turned, 1)
        weights, biases = cards.weights[source], cards.biases[source]
        changed = replace(cards, weights=weights, biases=biases)
        return Carousel(cards=changed, listeners=world.listeners, slots=world.slots)


def _with_cards(
    world: Carousel, staying: Int[np.ndarray, " staying"], more: int, generator: np.random.Generator
) -> Carousel:
    """Returns the world with the cards `staying`, followed by `more` new ones."""
    cards = world.cards
    # Weights are drawn together with the vectors that policies know, so that these tell as much about new cards.
    known = np.column_stack([cards.weights, cards.biases, world.known])
    spread = np.atleast_2d(np.cov(known, rowvar=False)) if len(known) > 1 else np.zeros((known.shape[1],) * 2)
    drawn = generator.multivariate_normal(known.mean(axis=0), spread, size=more, check_valid="ignore")
    drawn = drawn.astype(cards.weights.dtype)
    rows, dim = len(cards.ids) + np.arange(more), cards.weights.shape[1]
    changed = Cards(
        rows=np.concatenate([cards.rows[staying], rows]),
        ids=(*cards.ids, *(f"new-card-{row}" for row in rows)),
        weights=np.concatenate([cards.weights[staying], drawn[:, :dim]]),
        biases=np.concatenate([cards.biases[staying], drawn[:, dim]]),
        kinds=np.concatenate([cards.kinds[staying], generator.choice(cards.kinds, size=more)]),
        vectors=None if cards.vectors is None else np.concatenate([cards.vectors[staying], drawn[:, dim + 1 :]]),
    )
    return Carousel(cards=changed, listeners=world.listeners, slots=world.slots)
