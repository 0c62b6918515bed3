"""Blend: one list for several listeners, or for a listener and an artist or a playlist, that is fair to each of them.

Candidates are the best of each member among what may come to all of them: what nobody disliked. Somebody who chose
nothing yet brings none, and is served by those of the others that suit them best. Places are shared out by
`policies/credit`, the order is made to flow without giving up its fairness, and `policies/match` says how alike they
are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.policies.credit import in_sequence, share_places, worth_by_rank
from towers.policies.listener import Listener
from towers.policies.match import Matches
from towers.policies.playlist import Playlist, Reason
from towers.policies.playlists.guests import BlendPartner, Guest, guest_of
from towers.policies.sequencing import clashes, neighbour_gains
from towers.retrieval.export import Export
from towers.retrieval.query import Query

Member: TypeAlias = Listener | BlendPartner
FOR_THEM = 0.25
"""A place is for a member, and says why, from this part of an equal share of it on."""
FOR_ALL = 0.5
"""It is for all of them where each has at least this part of an equal share."""


def _with_heard() -> Query:
    return Query(k=50, include_heard=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendSettings:
    """How a blend is made.

    Args:
        query: what may come; `k` is the number of places, and without `include_heard` nothing comes that any of the
            members has heard.
        candidates: so many of each member are looked at, at least `query.k`.
        max_per_artist: at most so many of an artist; null: as many as come.
        reach: by this share of its place a content may move for the flow, below 1; 0: not at all.
        left_out: ids of members that are left out, such as who has left or is blocked.

    Raises:
        UserError: a number that is too small, or a share of what is familiar, which differs by member.
    """

    query: Query = field(default_factory=_with_heard)
    candidates: int = 300
    max_per_artist: int | None = None
    reach: int | float = 0.25
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.query.familiar is not None:
            raise UserError(f"familiar={self.query.familiar}: what is familiar differs by member; say include_heard")
        if self.candidates < self.query.k:
            raise UserError(f"candidates={self.candidates}: must be at least k={self.query.k}")
        if self.max_per_artist is not None and self.max_per_artist < 1:
            raise UserError(f"max_per_artist={self.max_per_artist}: must be at least 1, or null for no limit")
        if not 0 <= self.reach < 1:
            raise UserError(f"reach={self.reach}: must be a share of a place, 0 or more and below 1")


def blend(members: Sequence[Member], settings: BlendSettings | None = None, matches: Matches | None = None) -> Playlist:
    """One list for all members; the same in whichever order they are named.

    Its `facts` are, by name: `members`, their ids in the order in which all else is told ("new", "new 2" of who has
    none); `shares` `[picks, members]`, whose each place is: a place's sum to 1, and those of a member are within one
    place of equal after every place; `because`, for each place the reasons by member, null where it is not for them;
    `match`, how alike their tastes are, in per cent, the mean over pairs; null unless two of them chose something.

    Args:
        members: at least two, of one export; who comes twice counts once.
        settings: null: the defaults.
        matches: of the export, kept by who makes many blends; null: made here, in a fifth of a second.

    Raises:
        UserError: fewer than two are left, they are of different spaces, or nothing may come to them.
    """
    settings = settings or BlendSettings()
    guests, remarks = _in_order([guest_of(member) for member in members], settings.left_out)
    export = guests[0].export
    rows = _candidates(guests, settings)
    if not len(rows):
        raise UserError("blend: nothing may come to all of them; allow more kinds, or deny less")
    worth = worth_by_rank(np.stack([guest.utility(rows) for guest in guests]))
    picks, shares = share_places(worth, settings.query.k, _openness(export, rows, settings.max_per_artist))
    order = _in_flow(export, rows[picks], shares, settings.reach)
    picks, shares = picks[order], shares[order]
    if len(picks) < settings.query.k:
        remarks.append(f"{len(picks)} contents where {settings.query.k} were asked for: no more may come")
    matches = matches or Matches(export)
    because = _reasons(guests, rows[picks], shares)
    return Playlist(
        rows=rows[picks],
        scores=worth[:, picks].mean(axis=0),
        reasons=tuple(_main_reason(reasons, share) for reasons, share in zip(because, shares, strict=True)),
        remark="; ".join(remarks),
        facts={
            "members": _names(guests),
            "shares": shares,
            "because": because,
            "match": matches.mean_match([matches.of(guest.chosen, guest.vector) for guest in guests]),
        },
    )


def _in_order(guests: Sequence[Guest], left_out: Sequence[str]) -> tuple[list[Guest], list[str]]:
    """Each guest once, in an order of their own, and remarks on who is left out."""
    if len({guest.export.space_id for guest in guests}) > 1:
        raise UserError("blend: members of different spaces have nothing in common; take all of them from one export")
    known = {guest.identity: guest for guest in guests}
    gone = sorted({guest.name for guest in known.values() if guest.name in left_out} - {""})
    kept = [known[identity] for identity in sorted(known) if known[identity].name not in gone]
    if len(kept) < 2:
        without = f" without {', '.join(gone)}" if gone else ""
        raise UserError(f"blend: takes at least two different members, and has {len(kept)}{without}")
    return kept, [f"left out: {', '.join(gone)}"] if gone else []


def _names(guests: Sequence[Guest]) -> list[str]:
    """Names the guests: each by its id, those without one "new", "new 2" and so on."""
    number_of_new = np.cumsum([not guest.name for guest in guests]).tolist()
    new = ["new" if number == 1 else f"new {number}" for number in number_of_new]
    return [guest.name or name for guest, name in zip(guests, new, strict=True)]


def _candidates(guests: Sequence[Guest], settings: BlendSettings) -> Int[np.ndarray, " candidates"]:
    """Rows of what may come to all guests and is among the best of one, rising.

    Who chose nothing yet brings nothing, as long as somebody else does.
    """
    refused = [guest.refused(settings.query) for guest in guests]
    query = replace(
        settings.query, k=settings.candidates, deny=np.concatenate([settings.query.deny, *refused]).astype(np.int64)
    )
    bringing = [guest for guest in guests if len(guest.chosen)] or guests
    return np.unique(np.concatenate([guest.best(query) for guest in bringing])).astype(np.int64)


def _openness(
    export: Export, rows: Int[np.ndarray, " candidates"], max_per_artist: int | None
) -> Callable[[list[int]], Bool[np.ndarray, " candidates"]]:
    """Says which candidates may come after some of them: none twice, no recording twice, no artist too often."""
    artists = export.facts.artists.take(rows).unique()
    num_artists = int(artists.values.max(initial=-1)) + 1
    recordings = rows if export.recordings is None else export.recordings[rows]
    most = len(rows) if max_per_artist is None else max_per_artist

    def is_open(picks: list[int]) -> Bool[np.ndarray, " candidates"]:
        taken = np.bincount(artists.take(np.array(picks, np.int64)).values, minlength=num_artists)
        is_shut = np.isin(recordings, recordings[picks])
        is_shut[artists.list_of_value[taken[artists.values] >= most]] = True
        return ~is_shut

    return is_open


def _in_flow(
    export: Export, rows: Int[np.ndarray, " picks"], shares: Float[np.ndarray, "picks members"], reach: int | float
) -> Int[np.ndarray, " picks"]:
    """The order in which contents that came in this one are played: alike ones follow one another, one artist's not."""
    vectors = np.asarray(export.vectors[rows], np.float64)
    gains = neighbour_gains(vectors, np.zeros(len(rows)), 0)
    return in_sequence(gains - 2 * clashes(export.facts.artists.take(rows).unique()), shares, reach)


def _reasons(
    guests: Sequence[Guest], rows: Int[np.ndarray, " picks"], shares: Float[np.ndarray, "picks members"]
) -> list[list[Reason | None]]:
    """Why each content is there, by guest; null of those whom it is not for."""
    because: list[list[Reason | None]] = [[None] * len(guests) for _ in rows]
    for number, guest in enumerate(guests):
        places = np.flatnonzero(shares[:, number] * len(guests) >= FOR_THEM)
        for place, reason in zip(places.tolist(), guest.reasons(rows[places]), strict=True):
            because[place][number] = reason
    return because


def _main_reason(reasons: Sequence[Reason | None], share: Float[np.ndarray, " members"]) -> Reason:
    """One reason for all: that it is for all of them, or else that of whose place it is most of all."""
    if (share * len(share) >= FOR_ALL).all():
        return Reason(kind="shared")
    reason = reasons[int(share.argmax())]
    assert reason is not None  # the largest share is at least an equal one
    return reason
