"""Answers to clients as JSON text, made from one snapshot. This module knows nothing of HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from jaxtyping import Float

from towers.contract import schema
from towers.retrieval import search
from towers.retrieval.encoded import unit_vector
from towers.retrieval.original import Original
from towers.retrieval.query import Query, Standing
from towers.retrieval.raw_contents import encode_content
from towers.retrieval.raw_events import encode_listener
from towers.retrieval.search import Found
from towers.service.audio import as_heard
from towers.service.cards import Card, quoted, written
from towers.service.questions import EmbedContentQuestion, EmbedQuestion, RecommendQuestion, SimilarQuestion, told
from towers.service.reasons import Heard, Reason, for_listener, shared_with
from towers.service.snapshot import Snapshot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """The listener whom a recommendation is for.

    Args:
        vector: unit vector of the listener.
        heard: contents that the listener heard, which reasons refer to.
        standing: relation to the contents that they met (heard, skipped); null for a bare vector.
        num_unknown: number of events of a given history whose content this version does not know.
        unknown_values: values of their features that this version does not know.
    """

    vector: Float[np.ndarray, " dim"]
    heard: Heard
    standing: Standing | None
    num_unknown: int = 0
    unknown_values: tuple[str, ...] = ()


def ready(snapshot: Snapshot) -> str:
    """Searches the nearest neighbour of the first content, so that an answer shows that searches work now."""
    if len(snapshot.export.vectors):
        search.similar(snapshot.export, 0, Query(k=1))
    return f'{{"status":"ready","version":{quoted(snapshot.version)}}}'


def recommend(snapshot: Snapshot, question: RecommendQuestion) -> str:
    """Answers `/recommend` with `version`, `space_id`, `items`, and what this version does not know: `unknown`, the
    number of unknown ids of lists and history, and `unknown_values`."""
    export, query = snapshot.export, question.query(snapshot)
    asker = _asker(snapshot, question)
    listed = query.deny if query.among is None else np.concatenate([query.deny, query.among])
    found = search.recommend(export, asker.vector, query, asker.standing)
    cards = [snapshot.cards.card(row) for row in found.rows.tolist()]
    reasons = for_listener(cards, found.rows, asker.heard, export.vectors, export.sound_likeness)
    num_unknown = asker.num_unknown + int((listed < 0).sum())
    unknown = f'"unknown":{num_unknown},"unknown_values":{written(asker.unknown_values)}'
    return _answer(snapshot, f'{unknown},"items":{_items(cards, found, reasons)}')


def similar(snapshot: Snapshot, question: SimilarQuestion) -> str:
    """Answers `/similar` with `version`, `space_id`, `content`, `unknown_values` and `items`; only a content of this
    version gets reasons."""
    export = snapshot.export
    if question.content is None:
        with as_heard(question.audio) as audio:
            original = Original.new(export, audio, question.metadata)
    else:
        original = Original.known(export, snapshot.content_row(question.content))
    found = original.neighbours(export, question.query(original.kind))
    cards = [snapshot.cards.card(row) for row in found.rows.tolist()]
    content, reasons = "null", [[] for _ in cards]
    if original.row is not None:
        card = snapshot.cards.card(original.row)
        is_close = export.sound_likeness.are_close(np.array([original.row]), found.rows)[0].tolist()
        content = card.json
        reasons = [shared_with(card, other, close) for other, close in zip(cards, is_close, strict=True)]
    unknown = written(original.encoded.unknown)
    return _answer(snapshot, f'"content":{content},"unknown_values":{unknown},"items":{_items(cards, found, reasons)}')


def embed(snapshot: Snapshot, question: EmbedQuestion) -> str:
    """Answers `/embed` with `version`, `space_id`, `vector`, and what this version does not know."""
    asker = _new(snapshot, question)
    unknown = f'"unknown":{asker.num_unknown},"unknown_values":{written(asker.unknown_values)}'
    return _answer(snapshot, f'{unknown},"vector":{written(asker.vector.tolist())}')


def embed_content(snapshot: Snapshot, question: EmbedContentQuestion) -> str:
    """Answers `/embed_content` with `version`, `space_id`, `vector` and `unknown_values`."""
    with as_heard(question.audio) as audio:
        encoded = encode_content(snapshot.export, audio, question.metadata)
    vector = written(encoded.vector.tolist())
    return _answer(snapshot, f'"unknown_values":{written(encoded.unknown)},"vector":{vector}')


def find(snapshot: Snapshot, query: str, k: int, kinds: Sequence[str]) -> str:
    """Answers `/search`: `items` are contents found by title, artist or id."""
    allowed = snapshot.export.catalogue.of_kinds(kinds) if kinds else None
    rows = snapshot.names.find(query, k, allowed)
    cards = ",".join(snapshot.cards.card(row).json for row in rows.tolist())
    return f'{{"version":{written(snapshot.version)},"items":[{cards}]}}'


def users(snapshot: Snapshot, query: str, k: int) -> str:
    """Answers `/users`: `items` are listeners found by a part of their id."""
    rows = snapshot.listeners.find(query, k).tolist()
    ids = snapshot.export.user_ids
    items = [{"user_id": ids[row], "num_events": len(snapshot.export.events(row))} for row in rows]
    return written({"version": snapshot.version, "items": items})


def user(snapshot: Snapshot, user_id: str, k: int) -> str:
    """Answers with a listener's latest `k` events that name a content, newest first; times are null without a clock."""
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


def _asker(snapshot: Snapshot, question: RecommendQuestion) -> Asker:
    if question.user is not None:
        return _known(snapshot, question.user)
    if question.vector is None:
        return _new(snapshot, question)
    heard = Heard.of(np.zeros(0, np.int64), snapshot.cards)
    return Asker(vector=unit_vector(question.vector, snapshot.export.dim), heard=heard, standing=None)


def _new(snapshot: Snapshot, listener: EmbedQuestion) -> Asker:
    """Encodes a listener whose history and features are given with the question."""
    history = listener.history or []
    events, until_us = told(snapshot, history)
    num_named = sum(event.content_id is not None for event in history)
    encoded = encode_listener(snapshot.export, events, listener.features)
    return Asker(
        vector=encoded.vector,
        heard=Heard.of(events.chosen_rows, snapshot.cards),
        standing=Standing.of(events, until_us),
        num_unknown=num_named - int((events.content_row >= 0).sum()),
        unknown_values=encoded.unknown,
    )


def _answer(snapshot: Snapshot, rest: str) -> str:
    return f'{{"version":{written(snapshot.version)},"space_id":{written(snapshot.export.space_id)},{rest}}}'


def _items(cards: Sequence[Card], found: Found, reasons: Sequence[list[Reason]]) -> str:
    """Returns the items as JSON; each content's JSON is made once a version and only inserted here."""
    items = []
    chances = ["null"] * len(cards) if found.chances is None else [f"{chance:.6f}" for chance in found.chances.tolist()]
    for card, score, chance, why in zip(cards, found.scores.tolist(), chances, reasons, strict=True):
        listed = ",".join([f'{{"reason":"{kind}","text":{quoted(text)}}}' for kind, text in why])
        items.append(f'{{"content":{card.json},"score":{score:.6f},"chance":{chance},"reasons":[{listed}]}}')
    return f"[{','.join(items)}]"


def _iso(time_us: int) -> str:
    return (EPOCH + timedelta(microseconds=time_us)).isoformat()
