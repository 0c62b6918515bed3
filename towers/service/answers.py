"""What clients are told, as JSON text, from one snapshot. Knows nothing of HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from jaxtyping import Float

from towers.contract import schema
from towers.retrieval import search
from towers.retrieval.query import Query, Standing
from towers.retrieval.search import Found
from towers.service.cards import Card, quoted, written
from towers.service.questions import EncodeQuestion, Listener, RecommendQuestion, told, vector_of
from towers.service.reasons import Heard, Reason, for_listener, shared_with
from towers.service.snapshot import Snapshot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Whom something is recommended to.

    Args:
        vector: theirs.
        heard: what reasons refer to.
        standing: to the contents that they met.
        num_unknown: contents of their history that this version does not know.
    """

    vector: Float[np.ndarray, " dim"]
    heard: Heard
    standing: Standing
    num_unknown: int = 0


def recommend(snapshot: Snapshot, question: RecommendQuestion) -> str:
    """`version`, `space_id`, `items`, and in `unknown` how many ids of lists this version does not know."""
    export, query = snapshot.export, question.query(snapshot)
    asker = _known(snapshot, question.user) if question.user is not None else _new(snapshot, question)
    listed = query.deny if query.among is None else np.concatenate([query.deny, query.among])
    found = search.recommend(export, asker.vector, query, asker.standing)
    cards = [snapshot.cards.card(row) for row in found.rows.tolist()]
    reasons = for_listener(cards, found.rows, asker.heard, export.vectors, snapshot.sound_likeness)
    num_unknown = asker.num_unknown + int((listed < 0).sum())
    return _answer(snapshot, f'"unknown":{num_unknown},"items":{_items(cards, found, reasons)}')


def similar(
    snapshot: Snapshot, content_id: str, k: int, kinds: Sequence[str], explicit: bool, released_by: date | None
) -> str:
    """`version`, `content` and `items`; of the content's own kind where no kinds are given."""
    row = snapshot.content_row(content_id)
    kinds = tuple(kinds) or search.own_kind(snapshot.export, row)
    found = search.similar(snapshot.export, row, Query(k=k, kinds=kinds, explicit=explicit, released_by=released_by))
    card, cards = snapshot.cards.card(row), [snapshot.cards.card(other) for other in found.rows.tolist()]
    is_close = snapshot.sound_likeness.are_close(np.array([row]), found.rows)[0].tolist()
    reasons = [shared_with(card, other, close) for other, close in zip(cards, is_close, strict=True)]
    return _answer(snapshot, f'"content":{card.json},"items":{_items(cards, found, reasons)}')


def encode_user(snapshot: Snapshot, question: EncodeQuestion) -> str:
    """`vector`, `space_id` and `version`."""
    events, _ = told(snapshot, question.history or [])
    vector = vector_of(snapshot, events, question.features)
    return _answer(snapshot, f'"vector":{written(vector.tolist())}')


def find(snapshot: Snapshot, query: str, k: int, kinds: Sequence[str]) -> str:
    """`items`: contents by title, artist or id."""
    allowed = snapshot.export.catalogue.of_kinds(kinds) if kinds else None
    rows = snapshot.names.find(query, k, allowed)
    cards = ",".join(snapshot.cards.card(row).json for row in rows.tolist())
    return f'{{"version":{written(snapshot.version)},"items":[{cards}]}}'


def users(snapshot: Snapshot, query: str, k: int) -> str:
    """`items`: listeners by a part of their id."""
    rows = snapshot.listeners.find(query, k).tolist()
    ids = snapshot.export.user_ids
    items = [{"user_id": ids[row], "num_events": len(snapshot.export.events(row))} for row in rows]
    return written({"version": snapshot.version, "items": items})


def user(snapshot: Snapshot, user_id: str, k: int) -> str:
    """A listener's latest events that name a content, newest first; times are null for data without a clock."""
    events = snapshot.export.events(snapshot.user_row(user_id))
    has_clock = snapshot.export.manifest.get("has_clock", True)
    times = [_iso(time) if has_clock else None for time in events.timestamp_us.tolist()]
    places = np.flatnonzero(events.content_row >= 0)[::-1][:k].tolist()
    history = [
        {
            "content": snapshot.cards.card(int(events.content_row[place])).content,
            "timestamp": times[place],
            "action": schema.ACTIONS[events.action[place]],
        }
        for place in places
    ]
    return written(
        {
            "version": snapshot.version,
            "user_id": user_id,
            "num_events": len(events),
            "as_of": times[-1] if times else None,
            "history": history,
        }
    )


def _known(snapshot: Snapshot, user_id: str) -> Asker:
    row = snapshot.user_row(user_id)
    heard, standing = snapshot.met_by(row)
    return Asker(vector=snapshot.export.user_vectors[row], heard=heard, standing=standing)


def _new(snapshot: Snapshot, listener: Listener) -> Asker:
    """A listener whose history is given with the question."""
    history = listener.history or []
    events, until_us = told(snapshot, history)
    num_named = sum(event.content_id is not None for event in history)
    return Asker(
        vector=vector_of(snapshot, events, listener.features),
        heard=Heard.of(events.chosen_rows, snapshot.cards),
        standing=Standing.of(events, until_us),
        num_unknown=num_named - int((events.content_row >= 0).sum()),
    )


def _answer(snapshot: Snapshot, rest: str) -> str:
    return f'{{"version":{written(snapshot.version)},"space_id":{written(snapshot.export.space_id)},{rest}}}'


def _items(cards: Sequence[Card], found: Found, reasons: Sequence[list[Reason]]) -> str:
    """Contents are written once a version, and put together as text here."""
    items = []
    for card, score, why in zip(cards, found.scores.tolist(), reasons, strict=True):
        listed = ",".join([f'{{"reason":"{kind}","text":{quoted(text)}}}' for kind, text in why])
        items.append(f'{{"content":{card.json},"score":{score:.6f},"reasons":[{listed}]}}')
    return f"[{','.join(items)}]"


def _iso(time_us: int) -> str:
    return (EPOCH + timedelta(microseconds=time_us)).isoformat()
