"""What happens to a carousel world in the course of its rounds: cards that come and go, tastes that turn.

Cards that come are drawn from the normal distribution that the world's cards have together, so that they are neither
better nor worse than those that are there; their kinds are drawn from those of the cards that are there.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Int

from towers.simulation.carousel.world import Cards, Carousel


class Change(Protocol):
    """Another world from a round on.

    Attributes:
        round_: before which it happens, from 0.
    """

    @property
    def round_(self) -> int: ...

    def __call__(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        """The world afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCards:
    """Cards enter that nobody has seen.

    Args:
        round_: before which they enter.
        cards: how many.
    """

    round_: int
    cards: int

    def __call__(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        return _with_cards(world, np.arange(len(world.cards)), self.cards, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedCards:
    """A part of the cards goes, and as many come.

    Args:
        round_: before which it happens.
        share: of the cards.
    """

    round_: int
    share: float = 0.5

    def __call__(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        cards = len(world.cards)
        gone = round(self.share * cards)
        staying = np.sort(generator.permutation(cards)[gone:])
        return _with_cards(world, staying, gone, generator)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedTastes:
    """From a round on, listeners take each card for what another one was: weights and biases change places.

    What policies are told of listeners and cards stays what it was, so all that they learned of these cards is wrong.

    Args:
        round_: before which it happens.
        share: of the cards that change places.
    """

    round_: int
    share: float = 1.0

    def __call__(self, world: Carousel, generator: np.random.Generator) -> Carousel:
        cards = world.cards
        turned = generator.permutation(len(cards))[: round(self.share * len(cards))]
        source = np.arange(len(cards))
        source[turned] = np.roll(turned, 1)
        weights, biases = cards.weights[source], cards.biases[source]
        changed = Cards(rows=cards.rows, ids=cards.ids, weights=weights, biases=biases, kinds=cards.kinds)
        return Carousel(cards=changed, listeners=world.listeners, slots=world.slots)


def _with_cards(
    world: Carousel, staying: Int[np.ndarray, " staying"], more: int, generator: np.random.Generator
) -> Carousel:
    """The world with some of its cards, and new ones behind them."""
    cards = world.cards
    known = np.column_stack([cards.weights, cards.biases])
    spread = np.atleast_2d(np.cov(known, rowvar=False)) if len(known) > 1 else np.zeros((known.shape[1],) * 2)
    drawn = generator.multivariate_normal(known.mean(axis=0), spread, size=more, check_valid="ignore")
    drawn = drawn.astype(cards.weights.dtype)
    rows = len(cards.ids) + np.arange(more)
    changed = Cards(
        rows=np.concatenate([cards.rows[staying], rows]),
        ids=(*cards.ids, *(f"new-card-{row}" for row in rows)),
        weights=np.concatenate([cards.weights[staying], drawn[:, :-1]]),
        biases=np.concatenate([cards.biases[staying], drawn[:, -1]]),
        kinds=np.concatenate([cards.kinds[staying], generator.choice(cards.kinds, size=more)]),
    )
    return Carousel(cards=changed, listeners=world.listeners, slots=world.slots)
