"""Reasons why contents are in a list: found for a listener, and put in words."""

import numpy as np
from jaxtyping import Int

from towers.contract.schema import LIKE, SAVE
from towers.policies.listener import Listener
from towers.policies.mixing import FRESH_DAYS, last_chosen
from towers.policies.playlist import Reason
from towers.retrieval.export import Export
from towers.retrieval.show import title_card

TOGETHER = 0.2
"""Least weight of neighbours by co-listening at which one is a reason for the other."""
OFTEN = 3
"""Number of choices of a content from which it is played often."""
WORDS = {
    "saved": "because you saved {}",
    "liked": "because you liked {}",
    "played": "because you played {}",
    "saved_it": "you saved it",
    "liked_it": "you liked it",
    "played_it": "you played it before",
    "often": "you play it often",
    "artist": "by {}, whom you play",
    "new_by": "new by {}",
    "new": "new",
    "close_in_sound": "close in sound to {}",
    "listened_with": "people who play {} play it",
    "popular": "popular these days",
    "editor": "the editor's choice",
    "pinned": "the editor put it here",
    "shared": "for all of you",
    "from": "from {}",
    "after": "goes on from {}",
    "fits": "fits what you play",
    "near": "close to {}",
    "begins": "where the path begins",
    "sets_out": "where the journey begins",
    "at_home": "close to what you like most",
    "leads": "where the journey leads",
    "in_playlists": "in playlists like this one",
}
"""Phrase of each kind of reason; `{}` is the title of what the reason refers to."""


def in_words(export: Export, reason: Reason) -> str:
    """Returns a reason in words."""
    words = WORDS[reason.kind]
    return words.format(title_card(export, reason.because)[0]) if "{}" in words else words


def reasons_for(listener: Listener, rows: Int[np.ndarray, " rows"]) -> tuple[Reason, ...]:
    """Returns the reason of each content for a listener, the most telling one that holds.

    For contents that they know it is what they did with it. Otherwise an artist whom they play comes first, then
    co-listening, then sound, then the nearest of their choices; without choices it is popularity.
    """
    export, chosen = listener.export, last_chosen(listener.standing.events)
    if not len(chosen):
        return tuple(Reason(kind="popular") for _ in rows)
    artists = _artists_played(listener, rows)
    with_ = _listened_with(listener, chosen, rows)
    sounds = export.sound_likeness.closest(rows, chosen)
    products = export.vectors[rows] @ export.vectors[chosen].T
    nearest = np.where(rows[:, None] == chosen, -np.inf, products).argmax(axis=1)
    said = _said(listener, chosen)
    is_fresh = export.age_days[rows] < FRESH_DAYS
    own = _of_own(listener, chosen, said)
    found = []
    for place, row in enumerate(rows.tolist()):
        if row in own:
            found.append(own[row])
        elif artists[place] >= 0:
            found.append(Reason(kind="new_by" if is_fresh[place] else "artist", because=int(artists[place])))
        elif with_[place] >= 0:
            found.append(Reason(kind="listened_with", because=int(with_[place])))
        elif sounds[place] >= 0:
            found.append(Reason(kind="close_in_sound", because=int(chosen[sounds[place]])))
        else:
            found.append(Reason(kind=said[nearest[place]], because=int(chosen[nearest[place]])))
    return tuple(found)


def _of_own(listener: Listener, chosen: Int[np.ndarray, " chosen"], said: list[str]) -> dict[int, Reason]:
    """Returns, by row, the reasons of contents that the listener chose: saved, liked, played often, or just played."""
    rows, times = np.unique(listener.chosen, return_counts=True)
    known = dict(zip(chosen.tolist(), said, strict=True))
    found = {}
    for row, count in zip(rows.tolist(), times.tolist(), strict=True):
        word = known.get(row, "played")
        kind = "often" if word == "played" and count >= OFTEN else f"{word}_it"
        found[row] = Reason(kind=kind, because=row)
    return found


def _artists_played(listener: Listener, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Returns for each content the row of an artist whom the listener plays; -1 where there is none."""
    artists = listener.export.artist_rows
    played = np.unique(artists.take(listener.chosen).values)
    theirs = artists.take(rows)
    found = np.full(len(rows), -1)
    is_played = np.isin(theirs.values, played)
    # The first of several artists wins: the last assignment stays.
    found[theirs.list_of_value[is_played][::-1]] = theirs.values[is_played][::-1]
    return found


def _listened_with(
    listener: Listener, chosen: Int[np.ndarray, " chosen"], rows: Int[np.ndarray, " rows"]
) -> Int[np.ndarray, " rows"]:
    """Returns for each content the choice that it is most often played with; -1 below the least weight."""
    neighbours, found = listener.export.co_listening, np.full(len(rows), -1)
    if neighbours is None:
        return found
    places, whose, weights = neighbours.among(chosen, rows)
    best = np.zeros(len(rows), np.float32)
    np.maximum.at(best, places, weights)
    told = (weights == best[places]) & (weights >= TOGETHER)
    # The first of several choices wins: the last assignment stays.
    found[places[told][::-1]] = chosen[whose[told][::-1]]
    return found


def _said(listener: Listener, chosen: Int[np.ndarray, " chosen"]) -> list[str]:
    """Returns what the listener did with each of their choices, the most telling of it."""
    events = listener.standing.events
    saved, liked = (events.content_row[events.action == action] for action in (SAVE, LIKE))
    is_saved, is_liked = np.isin(chosen, saved), np.isin(chosen, liked)
    return np.where(is_saved, "saved", np.where(is_liked, "liked", "played")).tolist()
