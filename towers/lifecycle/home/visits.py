"""Simulated visits: pages are drawn and logged as a server does it, and a simulated world gives the outcomes."""

from collections.abc import Callable, Sequence

import numpy as np

from towers.contract.durations import DAY_US, MINUTE_US
from towers.policies.bandit.home import Shelf, draw_page, impressions_of
from towers.policies.bandit.home_cards import HomeCards
from towers.policies.bandit.policy_file import PolicyVersion
from towers.service.home_log import CardIds, HomeLog, Outcome
from towers.simulation.carousel.world import Carousel, streams

SHORTEST_MS, LONGEST_MS = 45_000, 240_000
"""Bounds of the duration of a simulated stream."""
SAVED_SHARE = 0.2
"""Share of simulated streams whose card is saved, too."""


def visit(
    log: HomeLog,
    cards: HomeCards,
    world: Carousel,
    version: PolicyVersion,
    shelves: Sequence[Shelf],
    *,
    pages: int,
    first_us: int,
    days: float,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Logs pages of listeners drawn at random, and what they streamed from them.

    On each shelf a listener streams the first card that appeals, or nothing, as in the carousel world.

    Args:
        log: log to write to.
        cards: cards of the export that the world was made from, in the same order.
        world: gives what listeners want (`catalogue_carousel`); its listeners are those of the export.
        version: version of the policy that chooses.
        shelves: shelves of the page.
        pages: number of pages.
        first_us: time of the first page, in microseconds since 1970, UTC.
        days: days until the last page; pages are evenly spaced.
        seed: seed of all random draws.
        progress: called with the numbers of pages done and in all.

    Returns:
        The number of cards that were streamed.
    """
    generator = np.random.default_rng(seed)
    export, card_ids = cards.export, CardIds(cards.ids)
    place_of = {one: place for place, one in enumerate(card_ids)}
    streamed = 0
    for page in range(pages):
        now_us = first_us + int(page * days * DAY_US / pages)
        user = int(generator.integers(len(world.listeners)))
        user_id, request_id = world.listeners.ids[user], generator.bytes(16).hex()
        context, candidates = cards.of_listener(user, now_us, log.satiation(user_id, place_of, now_us))
        filled = draw_page(version.policy, cards, context, candidates, shelves, generator)
        rows, could = impressions_of(
            filled, card_ids, request_id=request_id, user_id=user_id, now_us=now_us,
            policy_id=version.logged_as, space_id=export.space_id,
        )  # fmt: skip
        if rows:
            log.show(rows, card_ids, could)
        for shelf in filled:
            chances = world.chances(np.array([user]), shelf.places[None])
            for at in np.flatnonzero(streams(chances, generator)[0]).tolist():
                told = Outcome(
                    request_id=request_id,
                    slot=shelf.first_slot + at,
                    clicked=True,
                    played_ms=int(generator.integers(SHORTEST_MS, LONGEST_MS)),
                    skipped=False,
                    saved=bool(generator.random() < SAVED_SHARE),
                )
                log.tell(told, now_us + MINUTE_US)
                streamed += 1
        if progress is not None:
            progress(page + 1, pages)
    log.write_parts(everything=True)
    return streamed
