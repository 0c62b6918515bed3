"""Blend: one list for several listeners, or for a listener and an artist or a playlist, that is fair to each of them.

Candidates are the best of each member among the contents that are allowed for all: what none of them dislikes. A member
without choices contributes none, and is served by those of the others that suit them best. Places are shared by
`policies/credit`, the order is smoothed without giving up this fairness, and `policies/match` says how similar the
members are.
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
"""Least part of an equal share of a place from which the place is for a member, with a reason."""
FOR_ALL = 0.5
"""Least part of an equal share that every member must have for a place to be for all of them."""


def _with_heard() -> Query:
    return Query(k=50, include_heard=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendSettings:
    """Settings of a blend.

    Args:
        query: which contents are allowed; `k` is the number of places, and without `include_heard` contents that any
            member has heard are left out.
        candidates: number of best contents of each member that are considered, at least `query.k`.
        max_per_artist: largest number of contents of one artist; null: no limit.
        reach: share of its place by which a content may move for a smoother order, below 1; 0: not at all.
        left_out: ids of members to leave out, such as those who left or are blocked.

    Raises:
        UserError: a number is too small, or `query.familiar` is given, which differs by member.
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
    """Makes one list for all members; their order does not matter.

    Its `facts` are, by name: `members`, their ids in the order of the other facts ("new", "new 2" for members without
    an id); `shares` `[picks, members]`, whose each place is: a place's shares sum to 1, and members' sums are within
    one place of equal after every place; `because`, for each place the reasons by member, null where it is not for
    them; `match`, how similar their tastes are, in per cent, the mean over pairs; null unless two of them have choices.

    Args:
        members: at least two, of one export; a member who is named twice counts once.
        settings: settings of the blend; null: the defaults.
        matches: similarities in the export, to be shared by many blends; null: built here, in a fifth of a second.

    Raises:
        UserError: fewer than two members are left, they are of different spaces, or no content is allowed for all.
    """
    settings = settings or BlendSettings()
    guests, remarks = _in_order([guest_of(member) for member in members], settings.left_out)
    export = guests[0].export
    rows = _candidates(guests, settings)
    if not len(rows):
        raise UserError("blend: no content is allowed for all of them; allow more kinds, or deny less")
    worth = worth_by_rank(np.stack([guest.utility(rows) for guest in guests]))
    picks, shares = share_places(worth, settings.query.k, _openness(export, rows, settings.max_per_artist))
    order = _in_flow(export, rows[picks], shares, settings.reach)
    picks, shares = picks[order], shares[order]
    if len(picks) < settings.query.k:
        remarks.append(f"{len(picks)} contents where {settings.query.k} were asked for: no more are allowed")
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
    """Returns each guest once, in an order of their own, and remarks on who is left out."""
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
    """Returns the guests' names: ids, and "new", "new 2" and so on for guests without one."""
    number_of_new = np.cumsum([not guest.name for guest in guests]).tolist()
    new = ["new" if number == 1 else f"new {number}" for number in number_of_new]
    return [guest.name or name for guest, name in zip(guests, new, strict=True)]


def _candidates(guests: Sequence[Guest], settings: BlendSettings) -> Int[np.ndarray, " candidates"]:
    """Returns the rows of contents that are allowed for all guests and among the best of one, ascending.

    Guests without choices contribute none, unless no guest has any.
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
    """Returns a function that says which candidates may follow given picks: no repeats, no recording twice, no artist
    too often."""
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
    """Returns a smoother order of the picks: similar contents follow one another, those of one artist do not."""
    vectors = np.asarray(export.vectors[rows], np.float64)
    gains = neighbour_gains(vectors, np.zeros(len(rows)), 0)
    return in_sequence(gains - 2 * clashes(export.facts.artists.take(rows).unique()), shares, reach)


def _reasons(
    guests: Sequence[Guest], rows: Int[np.ndarray, " picks"], shares: Float[np.ndarray, "picks members"]
) -> list[list[Reason | None]]:
    """Returns the reason of each content for each guest; null for guests that it is not for."""
    because: list[list[Reason | None]] = [[None] * len(guests) for _ in rows]
    for number, guest in enumerate(guests):
        places = np.flatnonzero(shares[:, number] * len(guests) >= FOR_THEM)
        for place, reason in zip(places.tolist(), guest.reasons(rows[places]), strict=True):
            because[place][number] = reason
    return because


def _main_reason(reasons: Sequence[Reason | None], share: Float[np.ndarray, " members"]) -> Reason:
    """Returns one reason for all: that the content is for all of them, or that of the guest with the largest share."""
    if (share * len(share) >= FOR_ALL).all():
        return Reason(kind="shared")
    reason = reasons[int(share.argmax())]
    assert reason is not None  # the largest share is at least an equal one
    return reason
