"""What happens to a carousel world in the course of its rounds: cards that come and go, tastes that turn.

Cards that come are drawn from the normal distribution that the world's cards have together, so that they are neither
better nor worse than those that are there; their kinds are drawn from those of the cards that are there.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from towers.simulation.carousel.world import Cards, Carousel


@runtime_checkable  # for the tests, which check annotations at run time
class Change(Protocol):
    """Another world from a round on."""

    @property
    def before_round(self) -> int:
        """When it happens: before which round, from 0."""
        ...

    def applied(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """The world afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCards:
    """Cards enter that nobody has seen.

    Args:
        before_round: when they enter, from 0.
        cards: how many.
    """

    before_round: int
    cards: int

    def applied(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """The world afterwards."""
        return _with_cards(world, np.arange(len(world.cards)), self.cards, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedCards:
    """A part of the cards goes, and as many come.

    Args:
        before_round: when it happens, from 0.
        share: of the cards.
    """

    before_round: int
    share: float = 0.5

    def applied(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """The world afterwards."""
        cards = len(world.cards)
        gone = round(self.share * cards)
        staying = np.sort(generator.permutation(cards)[gone:])
        return _with_cards(world, staying, gone, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedTastes:
    """From a round on, listeners take each card for what another one was: weights and biases change places.

    What policies are told of listeners and cards stays what it was, so all that they learned of these cards is wrong.

    Args:
        before_round: when it happens, from 0.
        share: of the cards that change places.
    """

    before_round: int
    share: float = 1.0

    def applied(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """The world afterwards."""
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
    """The world with some of its cards, and new ones behind them."""
    cards = world.cards
    # With what policies are told of them, so that they are told as much of those that come.
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
