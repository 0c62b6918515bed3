"""A home page in use: a small export, listeners whose tastes are its vectors, and the log of their outcomes."""

from pathlib import Path

import numpy as np
from scipy.special import expit

from tests.retrieval.small_export import content, small_export
from towers.contract.durations import HOUR_US
from towers.policies.bandit.home import Shelf, draw_page, impressions_of
from towers.policies.bandit.home_cards import PAIRS, HomeCards, most_played_cards
from towers.policies.bandit.linear import LinearThompson
from towers.policies.bandit.policy_file import PolicyVersion
from towers.policies.bandit.satiation import Tired
from towers.retrieval.export import Export
from towers.service.home_log import CardIds, HomeLog, Outcome

DIM = 4
BEGIN_US = 1_780_272_000_000_000  # 1 June 2026
SHELVES = (
    Shelf(name="picked", title="Picked for you", slots=2),
    Shelf(name="talk", title="Podcasts", slots=1, kinds=("episode",)),
)


def page_export(folder: Path, listeners: int = 60) -> Export:
    """Makes an export of ten tracks and eight cards in four directions; a listener stands at the last track that they
    played.
    """
    draw = np.random.default_rng(0)
    contents = [content(f"t{at}") for at in range(10)]
    contents += [content(f"p{at}", "playlist") for at in range(4)] + [content(f"e{at}", "episode") for at in range(4)]
    vectors = draw.normal(size=(len(contents), DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    heard = {f"u{at:02}": draw.integers(10, size=3).tolist() for at in range(listeners)}
    return small_export(folder, contents, vectors, heard)


def new_policy(dim: int = DIM, slots: int = 2) -> LinearThompson:
    """Makes a policy that reads vectors and pairs, and explores much."""
    return LinearThompson(
        features={"dim": dim, "has_times": False, "pairs": list(PAIRS)},
        slots=slots, members=8, floor=0.5, prior_reward=0.3, prior_spread=0.5, policy_id="home",
    )  # fmt: skip


def card_rows(export: Export) -> np.ndarray:
    return most_played_cards(export)


def use(
    export: Export, version: PolicyVersion, folder: Path, pages: int, begin_us: int = BEGIN_US, seed: int = 0
) -> None:
    """Draws pages, four an hour, as a server does, and reports the listeners' outcomes."""
    draw = np.random.default_rng(seed)
    cards = HomeCards(export=export, rows=card_rows(export), known_ids=version.card_ids)
    ids, tired = CardIds(cards.ids), Tired()
    log = HomeLog(folder)
    for page in range(pages):
        now_us = begin_us + page * HOUR_US // 4
        user = int(draw.integers(len(export.user_ids)))
        context, candidates = cards.of_listener(user, now_us, tired.of_all(user, len(cards.rows), now_us))
        filled = draw_page(version.policy, cards, context, candidates, SHELVES, draw)
        rows, could = impressions_of(
            filled, ids, request_id=f"{seed}-{page}", user_id=export.user_ids[user], now_us=now_us,
            policy_id=version.logged_as, space_id=export.space_id,
        )  # fmt: skip
        log.show(rows, ids, could)
        places = [place for shelf in filled for place in shelf.places.tolist()]
        for slot, place in enumerate(places):
            liking = float(context.user_vectors[0] @ cards.vectors[place])
            is_heard = bool(draw.random() < expit(4 * liking - 1))
            tired.shown(user, place, now_us, is_heard)
            told = Outcome(
                request_id=f"{seed}-{page}", slot=slot, clicked=True, played_ms=40_000 if is_heard else 2_000,
                skipped=not is_heard,
            )  # fmt: skip
            log.tell(told, now_us + 1)
    log.write_parts(begin_us + pages * HOUR_US, everything=True)
    log.close()
