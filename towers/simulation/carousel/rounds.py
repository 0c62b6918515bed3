"""Plays a policy against a carousel world, round by round, and counts what it loses.

In a round listeners are drawn, as many come again as chance wants; each is shown one slate; at its end the policy is
told what came of all of them. Regret is counted in expected streams, without the noise of those that happened: what the
best slate of the listener would have had more than the one that was shown. Random's is counted beside it for the same
listeners, so that a policy's can be told relative to it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.contract.policy import Outcomes, Policy
from towers.contract.schema import KINDS
from towers.contract.slate import NOTHING, Slate
from towers.simulation.carousel.changes import Change
from towers.simulation.carousel.world import Carousel, expected_streams, streams

Attention = Callable[[Float[np.ndarray, "listeners slots"]], Bool[np.ndarray, "listeners slots"]]
"""Which slots were seen, from what was streamed of each: what a policy may take for a refusal."""
Progress = Callable[[int, int], None]
"""Is told how many rounds are done, and of how many."""
Watch = Callable[[int, Outcomes], None]
"""Is told a round's number and what came of it, before the policy learns from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What came of a round. Figures are means over its listeners, of one slate each.

    Args:
        number: from 0.
        streams: that happened.
        expected: streams expected of what was shown.
        best: streams expected of the best slates.
        random: streams expected of slates drawn at random.
        seen: slots of which the policy was told that they were seen.
        by_kind: share of the shown slots, by the kind of their card.
        entered: rows of the cards that have entered since the first round.
        exposure: `[entered]`, share of the shown slots of each of them.
        best_exposure: `[entered]`, their share of the slots of the best slates.
        cards: how many cards could be shown; one's share by chance is 1 / cards.
    """

    number: int
    streams: float
    expected: float
    best: float
    random: float
    seen: float
    by_kind: dict[str, float]
    entered: Int[np.ndarray, " entered"]
    exposure: Float[np.ndarray, " entered"]
    best_exposure: Float[np.ndarray, " entered"]
    cards: int

    @property
    def regret(self) -> float:
        """Expected streams that the slates shown lack to the best."""
        return self.best - self.expected

    @property
    def random_regret(self) -> float:
        """Expected streams that random slates lack to the best."""
        return self.best - self.random


def rounds_of(
    policy: Policy,
    world: Carousel,
    attention: Attention,
    *,
    rounds: int = 100,
    listeners: int = 20_000,
    changes: Sequence[Change] = (),
    seed: int = 0,
    watch: Watch | None = None,
    progress: Progress | None = None,
) -> Iterator[Round]:
    """Plays rounds, each as it is asked for; the policy learns on the way.

    The same seed draws the same listeners and the same changes for every policy.

    Args:
        policy: that chooses, and is changed.
        world: before the first round.
        attention: what the policy is told of what was seen.
        rounds: how many.
        listeners: of a round, drawn with replacement.
        changes: of the world, each before its round.
        seed: of listeners, slates, streams and changes.
        watch: is told of every round before the policy is.
        progress: is told of every round that is done.
    """
    coming, choosing, streaming, changing, blind = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(5))
    first = set(world.cards.rows.tolist())
    for number in range(rounds):
        for change in changes:
            if change.before_round == number:
                world = change.applied(world, changing)
        asked = coming.integers(len(world.listeners), size=listeners)
        slate = policy.select(world.context(asked, number), world.candidates(), choosing)
        places = world.places(slate.content_rows)
        chances = world.chances(asked, places)
        is_streamed = streams(chances, streaming)
        is_seen = attention(is_streamed.astype(float)) & (places != NOTHING)
        outcomes = outcomes_of(world, asked, number, slate, is_streamed, is_seen)
        if watch is not None:
            watch(number, outcomes)
        policy.update(outcomes)
        entered = np.array([row for row in world.cards.rows.tolist() if row not in first], dtype=np.int64)
        best = world.best(asked)
        by_chance = random_places(len(world.cards), listeners, world.slots, blind)
        yield Round(
            number=number,
            streams=float(is_streamed.sum(axis=1).mean()),
            expected=float(expected_streams(chances).mean()),
            best=float(expected_streams(world.chances(asked, best)).mean()),
            random=float(expected_streams(world.chances(asked, by_chance)).mean()),
            seen=float(is_seen.sum(axis=1).mean()),
            by_kind=_by_kind(world, places),
            entered=entered,
            exposure=_shares(places, world.places(entered), len(world.cards)),
            best_exposure=_shares(best, world.places(entered), len(world.cards)),
            cards=len(world.cards),
        )
        if progress is not None:
            progress(number + 1, rounds)


def outcomes_of(
    world: Carousel,
    asked: Int[np.ndarray, " listeners"],
    number: int,
    slate: Slate,
    is_streamed: Bool[np.ndarray, "listeners slots"],
    is_seen: Bool[np.ndarray, "listeners slots"],
) -> Outcomes:
    """What a policy is told of slates, slot by slot; the empty ones are left out."""
    listener, slot = np.nonzero(slate.content_rows != NOTHING)
    rows = slate.content_rows[listener, slot]
    return Outcomes(
        context=world.context(asked[listener], number),
        content_rows=rows,
        vectors=world.known[world.places(rows)],
        kinds=world.cards.kinds[world.places(rows)],
        slots=slot,
        propensities=slate.propensities[listener, slot],
        is_seen=is_seen[listener, slot],
        rewards=is_streamed[listener, slot].astype(float),
    )


def random_places(
    cards: int, listeners: int, slots: int, generator: np.random.Generator
) -> Int[np.ndarray, "listeners slots"]:
    """Places of different cards, every choice of them equally likely."""
    slots = min(slots, cards)
    if cards < 4 * slots:
        return np.argsort(generator.random((listeners, cards)), axis=1)[:, :slots]
    places = generator.integers(cards, size=(listeners, slots))
    again = np.arange(listeners)
    while len(again):  # those in whose slate a card stands twice
        in_order = np.sort(places[again], axis=1)
        again = again[(in_order[:, 1:] == in_order[:, :-1]).any(axis=1)]
        places[again] = generator.integers(cards, size=(len(again), slots))
    return places


def _by_kind(world: Carousel, places: Int[np.ndarray, "listeners slots"]) -> dict[str, float]:
    """The share of the shown slots that each kind has."""
    counts = np.bincount(world.cards.kinds[places[places != NOTHING]], minlength=len(KINDS))
    return {kind: float(count / max(counts.sum(), 1)) for kind, count in zip(KINDS, counts, strict=True) if count}


def _shares(
    shown: Int[np.ndarray, "listeners slots"], places: Int[np.ndarray, " some"], cards: int
) -> Float[np.ndarray, " some"]:
    """The share of the shown slots that some cards have, each for itself."""
    counts = np.bincount(shown[shown != NOTHING], minlength=cards)
    return counts[places] / max(counts.sum(), 1)
