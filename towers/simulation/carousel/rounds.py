"""Plays a policy against a carousel world, round by round, and counts its regret.

In each round listeners are drawn with replacement, each is shown one slate, and afterwards the policy gets all
outcomes. Regret is counted in expected streams, without the noise of those that happened: the expected streams of a
listener's best slate minus those of the slate shown. Regret of random slates is counted for the same listeners, so
that a policy's regret can be given relative to it.
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
"""Function from the streams of each slot to whether it was seen: what a policy may count as a rejection."""
Progress = Callable[[int, int], None]
"""Callback that gets the number of rounds done and the number in all."""
Watch = Callable[[int, Outcomes], None]
"""Callback that gets a round's number and its outcomes, before the policy learns from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Results of a round. Figures are means over its listeners, with one slate each.

    Args:
        number: number of the round, from 0.
        streams: streams that happened.
        expected: expected streams of the slates shown.
        best: expected streams of the best slates.
        random: expected streams of random slates.
        seen: slots that the policy was told were seen.
        by_kind: share of the slots shown, by the kind of their card.
        entered: rows of the cards that entered after the first round.
        exposure: `[entered]`, share of the slots shown of each of them.
        best_exposure: `[entered]`, their share of the slots of the best slates.
        cards: number of cards that could be shown; a card's expected share by chance is 1 / cards.
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
        """Expected streams of the best slates minus those of the slates shown."""
        return self.best - self.expected

    @property
    def random_regret(self) -> float:
        """Expected streams of the best slates minus those of random slates."""
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
    """Yields rounds, each played when it is asked for; the policy learns on the way.

    The same seed draws the same listeners and the same changes for every policy.

    Args:
        policy: policy that chooses slates; it is changed in place.
        world: world before the first round.
        attention: decides which slots the policy is told were seen.
        rounds: number of rounds.
        listeners: listeners per round, drawn with replacement.
        changes: changes of the world, each before its round.
        seed: seed of listeners, slates, streams and changes.
        watch: called with every round before the policy learns from it.
        progress: called after every round.
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
    """Returns the outcomes of slates for a policy, slot by slot; empty slots are left out."""
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
    """Draws places of distinct cards; all choices are equally likely."""
    slots = min(slots, cards)
    if cards < 4 * slots:
        return np.argsort(generator.random((listeners, cards)), axis=1)[:, :slots]
    places = generator.integers(cards, size=(listeners, slots))
    again = np.arange(listeners)
    while len(again):  # redraws slates that hold a card twice
        in_order = np.sort(places[again], axis=1)
        again = again[(in_order[:, 1:] == in_order[:, :-1]).any(axis=1)]
        places[again] = generator.integers(cards, size=(len(again), slots))
    return places


def _by_kind(world: Carousel, places: Int[np.ndarray, "listeners slots"]) -> dict[str, float]:
    """Returns the share of the slots shown, by kind."""
    counts = np.bincount(world.cards.kinds[places[places != NOTHING]], minlength=len(KINDS))
    return {kind: float(count / max(counts.sum(), 1)) for kind, count in zip(KINDS, counts, strict=True) if count}


def _shares(
    shown: Int[np.ndarray, "listeners slots"], places: Int[np.ndarray, " some"], cards: int
) -> Float[np.ndarray, " some"]:
    """Returns the share of the slots shown of each of some cards."""
    counts = np.bincount(shown[shown != NOTHING], minlength=cards)
    return counts[places] / max(counts.sum(), 1)
