"""Cards of a home page: contents of an export that may be shown, with features of each for a listener."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from towers.contract import schema
from towers.contract.policy import Candidates, Context
from towers.errors import UserError
from towers.features.familiarity import ages
from towers.features.ragged import Ragged
from towers.retrieval.encoders import EVENT_COLUMNS, Events
from towers.retrieval.export import Export
from towers.retrieval.query import Standing

KINDS = ("playlist", "episode", "artist")
"""Kinds of content that are cards."""
MOST = 1_000
"""Largest number of cards that a home page chooses from."""
PAIRS = ("familiarity", "recency", "satiation")
"""Features of a listener and a card: `log(1 + times)` that they chose something of the card's contents; 1 / (1 + age in
days) of the last time, 0 where there was none; and how tired of the card they are (`satiation.py`)."""


def content_cards(export: Export) -> Ragged:
    """Returns, by content row, the rows of every card it belongs to: itself, its artists, and the playlists it is
    in."""
    rows = np.arange(len(export.contents), dtype=np.int64)
    artists, playlists = export.artist_rows, export.playlists
    members = playlists.members
    content = np.concatenate([rows, artists.list_of_value, members.values.astype(np.int64)])
    owners = playlists.content_row[members.list_of_value] if len(playlists) else np.zeros(0, np.int64)
    card = np.concatenate([rows, artists.values.astype(np.int64), owners.astype(np.int64)])
    is_known = content >= 0
    order = np.argsort(content[is_known], kind="stable")
    counts = np.bincount(content[is_known], minlength=len(rows))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Ragged(offsets, card[is_known][order]).unique()


def most_played_cards(export: Export, kinds: Sequence[str] = KINDS, most: int = MOST) -> Int[np.ndarray, " cards"]:
    """Returns the rows of the cards, those whose contents were chosen most often lately first.

    Each kind gets an equal share of the places; places that a kind cannot fill go to the most played cards of the
    others.

    Args:
        export: opened export.
        kinds: kinds of cards.
        most: largest number of cards.
    """
    parts = content_cards(export)
    plays = np.bincount(
        parts.values, np.repeat(export.facts.recent_positives, parts.lengths), minlength=len(export.contents)
    )
    order = np.argsort(-plays, kind="stable")
    is_card = export.catalogue.of_kinds(kinds)
    order = order[is_card[order]]
    rank_in_kind = np.zeros(len(order), np.int64)
    for kind in np.unique(export.kinds[order]):
        own = export.kinds[order] == kind
        rank_in_kind[own] = np.arange(own.sum())
    is_beyond = rank_in_kind >= most // len(kinds)
    return order[np.sort(np.argsort(is_beyond, kind="stable")[:most])]


def cards_of_file(export: Export, path: Path) -> Int[np.ndarray, " cards"]:
    """Reads the cards of a file with one content id on each line.

    Raises:
        UserError: the file cannot be read, has no ids, an id twice, or an id that the export does not have.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    rows: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = export.content_ids.get(line.strip(), -1)
        if row < 0:
            raise UserError(f"{path}, line {number}: {line.strip()!r} is not a content of version {export.version}")
        if row in rows:
            raise UserError(f"{path}, line {number}: {line.strip()!r} is already in line {rows[row]}")
        rows[row] = number
    if not rows:
        raise UserError(f"{path}: contains no ids; write one on each line")
    return np.array([*rows], np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class HomeCards:
    """Cards of an export, numbered so that a policy recognises a card in every version.

    Rows of an export may change when contents are removed; a policy's state therefore numbers cards by their place in a
    list of ids that only grows, and `Candidates.content_rows` are these numbers.

    Args:
        export: opened export.
        rows: `[cards]`, rows of the export.
        known_ids: ids by number, from the policy's file; other cards are numbered after them.
    """

    export: Export
    rows: Int[np.ndarray, " cards"]
    known_ids: tuple[str, ...] = ()

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """`[cards]`, raw content ids."""
        return tuple(self.export.content_ids[row] for row in self.rows.tolist())

    @cached_property
    def card_ids(self) -> tuple[str, ...]:
        """Content ids by number: the known ones, then those of the new cards."""
        known = {*self.known_ids}
        return (*self.known_ids, *(one for one in self.ids if one not in known))

    @cached_property
    def number_of(self) -> Mapping[str, int]:
        """Number of each content id."""
        return {one: number for number, one in enumerate(self.card_ids)}

    @cached_property
    def numbers(self) -> Int[np.ndarray, " cards"]:
        """`[cards]`, number by which a policy knows each card."""
        return np.array([self.number_of[one] for one in self.ids], np.int64)

    @cached_property
    def place_of_number(self) -> Int[np.ndarray, " numbers"]:
        """Place among these cards of each number; -1 where the number is of another card."""
        places = np.full(len(self.card_ids), -1)
        places[self.numbers] = np.arange(len(self.rows))
        return places

    @cached_property
    def vectors(self) -> Float[np.ndarray, "cards dim"]:
        """`[cards, dim]`, float32, in memory."""
        return np.array(self.export.vectors[self.rows], np.float32)

    @cached_property
    def kinds(self) -> Integer[np.ndarray, " cards"]:
        """`[cards]`, index into `schema.KINDS`."""
        return self.export.kinds[self.rows].astype(np.int64)

    @cached_property
    def _cards_of_content(self) -> Ragged:
        """By content row, places of the cards that it belongs to."""
        place = np.full(len(self.export.contents), -1)
        place[self.rows] = np.arange(len(self.rows))
        of_content = content_cards(self.export)
        places = place[of_content.values]
        return Ragged(of_content.offsets, places).where(places >= 0)

    def warm(self) -> None:
        """Computes the cached properties, so that no request waits for them."""
        _ = self.numbers, self.place_of_number, self.vectors, self.kinds, self._cards_of_content

    def of_listener(
        self, user_row: int, now_us: int, satiation: Float[np.ndarray, " cards"]
    ) -> tuple[Context, Candidates]:
        """Returns the context of a listener of the export, and all cards with their features; disliked cards are not
        allowed.

        Args:
            user_row: row of the listener in the export.
            now_us: microseconds since 1970, UTC.
            satiation: how tired they are of each card, 0 where it was not shown lately.
        """
        events = self.export.events(user_row)
        disliked = np.isin(self.rows, Standing.of(events, self.export.until_us).disliked)
        familiarity, recency = self.familiar(events, now_us)
        pairs = {"familiarity": familiarity, "recency": recency, "satiation": satiation}
        context = Context(
            user_vectors=np.asarray(self.export.user_vectors[user_row : user_row + 1]),
            segments=np.array([-1]),
            times_us=np.array([now_us]),
        )
        candidates = Candidates(
            content_rows=self.numbers,
            vectors=self.vectors,
            kinds=self.kinds,
            is_allowed=~disliked[None] if disliked.any() else None,
            pairs={name: values[None] for name, values in pairs.items()},
        )
        return context, candidates

    def familiar_at(
        self, user_row: int, time_us: int
    ) -> tuple[Float[np.ndarray, " cards"], Float[np.ndarray, " cards"]]:
        """Returns `familiarity` and `recency` of each card by a listener's events before a time."""
        events = self.export.events(user_row)
        before = events.timestamp_us < time_us
        told = Events(**{name: getattr(events, name)[before] for name in EVENT_COLUMNS})
        return self.familiar(told, time_us)

    def familiar(self, events: Events, now_us: int) -> tuple[Float[np.ndarray, " cards"], Float[np.ndarray, " cards"]]:
        """Returns `familiarity` and `recency` of each card by a listener's events; see `PAIRS`.

        Args:
            events: events in time order, all before `now_us`.
            now_us: microseconds since 1970, UTC; without a clock in the data an event's age is its place from the end.
        """
        is_chosen = events.is_positive & (events.content_row >= 0)
        rows = events.content_row[is_chosen].astype(np.int64)
        has_clock = self.export.manifest.get("has_clock", True)
        age = ages(events.timestamp_us, now_us if has_clock else None)[is_chosen]
        cards = self._cards_of_content.take(rows)
        times = np.bincount(cards.values, minlength=len(self.rows))
        recency = np.zeros(len(self.rows))
        np.maximum.at(recency, cards.values, np.repeat(1 / (1 + age), cards.lengths))
        return np.log1p(times), recency


def chosen_cards(export: Export, path: Path | None, most: int = MOST, known_ids: tuple[str, ...] = ()) -> HomeCards:
    """Returns the cards of a home page: those listed in a file, or the most played ones.

    Args:
        export: opened export.
        path: file of content ids; null: the most played cards.
        most: largest number of cards, without a file.
        known_ids: content ids by number, from a policy's file.

    Raises:
        UserError: as `cards_of_file`, or the export has no cards.
    """
    rows = most_played_cards(export, most=most) if path is None else cards_of_file(export, path)
    if not len(rows):
        raise UserError(f"{export.folder}: has no playlist, episode or artist that could be a card")
    return HomeCards(export=export, rows=rows, known_ids=known_ids)


def kinds_allowed(kinds: Integer[np.ndarray, " cards"], names: Sequence[str]) -> Bool[np.ndarray, " cards"]:
    """Returns which cards are of the named kinds; all where none are named."""
    return np.isin(kinds, [schema.KIND_CODES[name] for name in names]) if names else np.ones(len(kinds), bool)
