"""Why a content is shown: what it shares with another, or with what a listener heard lately."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from towers.retrieval.sound_likeness import SoundLikeness
from towers.service.cards import Card

LATELY = 50
"""Contents that a listener heard last, which reasons may refer to."""

Reason = tuple[str, str]
"""Kind of a reason, and a text for people."""


def shared_with(card: Card, other: Card, is_close: bool) -> list[Reason]:
    """Returns what `other`, a neighbour, has in common with `card`; empty if only their vectors are near."""
    reasons = []
    artists = [name for id_, name in other.artists.items() if id_ in card.artists]
    if artists:
        reasons.append(("shared_artist", f"by the same artist, {artists[0]}"))
    if other.album_id is not None and other.album_id == card.album_id:
        reasons.append(("shared_album", "from the same album"))
    genres = [genre for genre in other.genres if genre in card.genres]
    if genres:
        reasons.append(("shared_genre", f"the same genre, {genres[0]}"))
    if is_close:
        reasons.append(("close_by_sound", "close by sound alone"))
    return reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The latest contents that a listener heard, as reasons need them.

    Args:
        lately: `[lately]`, rows, newest first, without repeats.
        cards: of `lately`.
        artists: ids of their artists.
        albums: place in `lately` by album, the newest.
        genres: how many of them bear a genre.
        known: rows of all that was heard.
    """

    lately: Integer[np.ndarray, " lately"]
    cards: Sequence[Card]
    artists: frozenset[str]
    albums: dict[str, int]
    genres: Counter[str]
    known: frozenset[int]

    @classmethod
    def of(cls, rows: Integer[np.ndarray, " heard"], cards: Any) -> "Heard":
        """Makes it of a listener who heard `rows` in this order; `cards` are of the same export."""
        lately = list(dict.fromkeys(rows[::-1].tolist()))[:LATELY]
        found = [cards.card(row) for row in lately]
        albums: dict[str, int] = {}
        for place, card in enumerate(found):
            if card.album_id is not None:
                albums.setdefault(card.album_id, place)
        return cls(
            lately=np.array(lately, np.int64),
            cards=found,
            artists=frozenset(id_ for card in found for id_ in card.artists),
            albums=albums,
            genres=Counter(genre for card in found for genre in card.genres),
            known=frozenset(rows.tolist()),
        )


def for_listener(
    cards: Sequence[Card],
    rows: Integer[np.ndarray, " found"],
    heard: Heard,
    vectors: Float[np.ndarray, "contents dim"],
    likeness: SoundLikeness,
) -> list[list[Reason]]:
    """Why each content is recommended: what it shares with what the listener heard lately.

    Last comes, always, the nearest of what was heard; a listener who heard nothing is given no reasons.

    Args:
        cards: of `rows`.
        rows: what is recommended.
        heard: by the listener.
        vectors: of the contents.
        likeness: of the same contents as `vectors`.
    """
    if not len(heard.lately) or not len(rows):
        return [[] for _ in cards]
    nearness = vectors[rows] @ vectors[heard.lately].T
    nearest = np.where(rows[:, None] == heard.lately, -np.inf, nearness).argmax(axis=1).tolist()
    closest = likeness.closest(rows, heard.lately).tolist()
    return [
        _for_one(*facts, heard=heard)
        for facts in zip(cards, rows.tolist(), nearest, closest, strict=True)
    ]  # fmt: skip


def _for_one(card: Card, row: int, nearest: int, closest: int, *, heard: Heard) -> list[Reason]:
    reasons = [("heard_before", "you played it before")] if row in heard.known else []
    artists = [name for id_, name in card.artists.items() if id_ in heard.artists]
    if artists:
        reasons.append(("shared_artist", f"by {artists[0]}, whom you played"))
    if card.album_id is not None and card.album_id in heard.albums:
        title = heard.cards[heard.albums[card.album_id]].title
        reasons.append(("shared_album", f"from the album of {title}, which you played"))
    genre = max(card.genres, key=lambda genre: heard.genres[genre], default=None)
    if genre is not None and heard.genres[genre]:
        reasons.append(("shared_genre", f"{genre}, which you played"))
    if closest >= 0:
        reasons.append(("close_by_sound", f"sounds like {heard.cards[closest].title}, which you played"))
    if heard.lately[nearest] != row:
        reasons.append(("near_heard", f"like {heard.cards[nearest].title}, which you played"))
    return reasons
