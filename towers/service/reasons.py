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
"""Number of a listener's latest contents that reasons may refer to."""

Reason = tuple[str, str]
"""Kind of a reason, and a text for people."""


def shared_with(card: Card, other: Card, is_close: bool) -> list[Reason]:
    """Returns what a neighbour, `other`, has in common with `card`; empty if only their vectors are near."""
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
    """A listener's latest contents, indexed for reasons.

    Args:
        lately: `[lately]`, rows, newest first, without repeats.
        cards: cards of `lately`, in the same order.
        artists: ids of the artists of `lately`.
        albums: place in `lately` of each album's newest content, by album id.
        genres: number of contents of `lately` with each genre.
        known: rows of all contents that the listener heard.
    """

    lately: Integer[np.ndarray, " lately"]
    cards: Sequence[Card]
    artists: frozenset[str]
    albums: dict[str, int]
    genres: Counter[str]
    known: frozenset[int]

    @classmethod
    def of(cls, rows: Integer[np.ndarray, " heard"], cards: Any) -> "Heard":
        """Indexes `rows`, which a listener heard in this order; `cards` are the cards of the same export."""
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
    """Returns for each content the reasons why it is recommended: what it shares with what the listener heard lately.

    The last reason names the nearest other content that they heard, if there is one. A listener who heard nothing
    gets no reasons.

    Args:
        cards: cards of `rows`.
        rows: recommended contents.
        heard: contents that the listener heard.
        vectors: vectors of all contents.
        likeness: likeness by sound of the same contents.
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
