"""Answers about home pages as JSON text. This module knows nothing of HTTP."""

import time
import uuid

import numpy as np

from towers.errors import UserError
from towers.policies.bandit.home import Filled, draw_page, impressions_of
from towers.service.cards import quoted, written
from towers.service.home_live import Home, LiveHome
from towers.service.home_log import Outcome
from towers.service.reasons import for_listener


def page(live: LiveHome, user_id: str, look: bool) -> str:
    """Draws a listener's home page: shelves of cards, each with its propensity and reasons.

    Everything is drawn from the request's id, so that the id and the policy's version give the same page again.

    Args:
        live: the home page that is served.
        user_id: the listener.
        look: whether the page is only looked at: it is not logged, and has no request id.

    Raises:
        NotFound: no such listener.
    """
    home, log = live.home, live.log
    now_us = time.time_ns() // 1_000
    request_id = uuid.uuid4().hex
    user_row = home.snapshot.user_row(user_id)
    satiation = np.zeros(len(home.card_ids)) if log is None else log.satiation(user_id, home.place_of, now_us)
    context, candidates = home.cards.of_listener(user_row, now_us, satiation)
    generator = np.random.default_rng(int(request_id, 16))
    filled = draw_page(home.version.policy, home.cards, context, candidates, home.shelves, generator)
    if log is not None and not look:
        rows, could = impressions_of(
            filled, home.card_ids, request_id=request_id, user_id=user_id, now_us=now_us,
            policy_id=home.version.logged_as, space_id=home.snapshot.export.space_id,
        )  # fmt: skip
        if rows:
            log.show(rows, home.card_ids, could)
    told = {
        "version": home.snapshot.version,
        "space_id": home.snapshot.export.space_id,
        "policy_id": home.version.policy.policy_id,
        "policy_version": home.version.version,
        "user_id": user_id,
        "request_id": None if log is None or look else request_id,
    }
    return f'{written(told)[:-1]},"shelves":{_shelves(home, filled, user_row)}}}'


def outcome(live: LiveHome, told: Outcome) -> str:
    """Keeps an outcome in the log, and returns the answer.

    Raises:
        UnknownRequest: no slot that still waits matches the outcome.
        ToldAlready: the slot has an outcome already.
        UserError: the server keeps no log.
    """
    if live.log is None:
        raise UserError("outcome: nothing is logged here; start the server with home.log=FOLDER")
    slot = live.log.tell(told, time.time_ns() // 1_000)
    return written({"request_id": told.request_id, "slot": slot})


def _shelves(home: Home, filled: list[Filled], user_row: int) -> str:
    """Returns the shelves as JSON; each content's JSON is made once a version and only inserted here."""
    snapshot, export = home.snapshot, home.snapshot.export
    heard, _ = snapshot.met_by(user_row)
    shown = []
    for shelf in filled:
        rows = home.cards.rows[shelf.places]
        cards = [snapshot.cards.card(row) for row in rows.tolist()]
        reasons = for_listener(cards, rows, heard, export.vectors, export.sound_likeness)
        items = []
        facts = zip(cards, shelf.propensities.tolist(), reasons, strict=True)
        for slot, (card, chance, why) in enumerate(facts, start=shelf.first_slot):
            listed = ",".join([f'{{"reason":"{kind}","text":{quoted(text)}}}' for kind, text in why])
            items.append(f'{{"slot":{slot},"content":{card.json},"propensity":{chance!r},"reasons":[{listed}]}}')
        named = written(
            {"name": shelf.shelf.name, "title": shelf.shelf.title, "num_candidates": int(shelf.could.sum())}
        )
        shown.append(f'{named[:-1]},"items":[{",".join(items)}]}}')
    return f"[{','.join(shown)}]"
