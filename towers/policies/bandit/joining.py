"""Outcomes of impressions found in the event log, where the impressions themselves have none.

A card was listened to when its listener played its content (of an artist or a playlist: any member) after it was shown,
within the session that it was shown in. The session of an impression is that of the listener's first event after it:
the one that the data names, or else all events with less than a gap between one and the next. An event counts for one
impression only, the last one before it whose card it fits.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int, Integer

from towers.contract import schema
from towers.contract.durations import MINUTE_US
from towers.contract.impressions import OUTCOMES
from towers.features.ragged import Ragged

WHOLE = 0.98
"""Least played fraction of a content that counts as played to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Events of listeners, grouped by listener and in time order for each.

    Args:
        user: `[events]`, number of the listener; each listener's events are contiguous.
        content_row: `[events]`, -1 where an event names no content.
        action: `[events]`, index into `schema.ACTIONS`.
        timestamp_us: `[events]`, microseconds since 1970, UTC.
        played_ms: `[events]`, -1 where it is not known.
        played_fraction: `[events]`, 0 to 1, -1 where it is not known.
        session: `[events]`, number of the session within the listener's events; -1 where the data names none.
    """

    user: Integer[np.ndarray, " events"]
    content_row: Integer[np.ndarray, " events"]
    action: Integer[np.ndarray, " events"]
    timestamp_us: Int[np.ndarray, " events"]
    played_ms: Int[np.ndarray, " events"]
    played_fraction: Float[np.ndarray, " events"]
    session: Integer[np.ndarray, " events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Impressions, with the rows and numbers of the same data as `Told`.

    Args:
        user: `[rows]`, number of the listener; -1 where the events have no such id.
        content_row: `[rows]`, row of the card; -1 where the data has no such content.
        timestamp_us: `[rows]`, when it was shown, microseconds since 1970, UTC.
    """

    user: Integer[np.ndarray, " rows"]
    content_row: Integer[np.ndarray, " rows"]
    timestamp_us: Int[np.ndarray, " rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Outcomes of impressions, found in the events.

    Args:
        is_met: `[rows]`, whether any event counts for the impression.
        played_ms: `[rows]`, time of the longest play or skip; -1 where it is not known, 0 without any.
        skipped: `[rows]`, whether the longest one was a skip.
        finished: `[rows]`, whether a play went on to the end of its content.
        saved: `[rows]`, whether there was a save.
    """

    is_met: Bool[np.ndarray, " rows"]
    played_ms: Int[np.ndarray, " rows"]
    skipped: Bool[np.ndarray, " rows"]
    finished: Bool[np.ndarray, " rows"]
    saved: Bool[np.ndarray, " rows"]


def sessions_of(told: Told, gap_us: int) -> Int[np.ndarray, " events"]:
    """Numbers the sessions: by the data's name of them, else by gaps of more than `gap_us`."""
    if not len(told.user):
        return np.zeros(0, np.int64)
    is_new_user = np.diff(told.user, prepend=told.user[0] - 1) != 0
    is_gap = np.diff(told.timestamp_us, prepend=told.timestamp_us[0]) > gap_us
    is_other = np.diff(told.session, prepend=told.session[0]) != 0
    is_named = told.session >= 0
    by_gap = np.cumsum(is_new_user | is_other | (is_gap & ~is_named))
    # A named session may resume after events without a name: it keeps its first number.
    pairs = np.stack([np.cumsum(is_new_user), told.session], axis=1)[is_named]
    _, first, inverse = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    numbers = by_gap.astype(np.int64)
    numbers[is_named] = numbers[is_named][first][inverse.reshape(-1)]
    return numbers


def joined(shown: Shown, told: Told, members: Ragged, gap_us: int = 30 * MINUTE_US) -> Found:
    """Finds what listeners did with what they were shown.

    Args:
        shown: impressions, in any order.
        told: events.
        members: by content row, the contents of an artist or a playlist; empty lists for other contents.
        gap_us: longest time, in microseconds, between an impression and the first event after it, and between events of
            a session that the data does not name.
    """
    pairs = _pairs(shown, told, members, gap_us)
    row, event = pairs[:, 0], pairs[:, 1]
    action = told.action[event]
    is_heard = np.isin(action, (schema.PLAY, schema.SKIP))
    rows = len(shown.user)
    order = np.argsort(np.where(is_heard, told.played_ms[event], -2), kind="stable")
    longest = np.full(rows, -1)
    longest[row[order]] = order  # the longest is written last
    longest = np.where((longest >= 0) & is_heard[longest] if len(row) else False, longest, -1)
    has_play = longest >= 0
    at = event[longest[has_play]]
    played_ms, skipped = np.zeros(rows, np.int64), np.zeros(rows, bool)
    played_ms[has_play] = told.played_ms[at]
    skipped[has_play] = told.action[at] == schema.SKIP
    fraction = told.played_fraction[event]
    # A play whose length is unknown counts as played in full, as it does for histories.
    is_to_end = (fraction >= WHOLE) | ((fraction < 0) & (told.played_ms[event] < 0))
    is_whole = (action == schema.PLAY) & is_to_end
    return Found(
        is_met=_any(row, np.ones(len(row), bool), rows),
        played_ms=played_ms,
        skipped=skipped,
        finished=_any(row, is_whole, rows),
        saved=_any(row, action == schema.SAVE, rows),
    )


def filled(impressions: pa.Table, found: Found) -> pa.Table:
    """Fills in found outcomes in the rows of impressions that have none; rows with any outcome stay as they are.

    `clicked` stays null: events do not record clicks. A row for which no event counts gets `played_ms` 0 and false
    elsewhere: nothing was done with it.
    """
    is_silent = np.ones(len(impressions), bool)
    for name in OUTCOMES:
        is_silent &= impressions[name].is_null().to_numpy()
    columns = {
        "played_ms": pa.array(found.played_ms, pa.int64(), mask=found.played_ms < 0),
        "skipped": pa.array(found.skipped),
        "finished": pa.array(found.finished),
        "saved": pa.array(found.saved),
    }
    for name, values in columns.items():
        merged = pc.call_function("if_else", [pa.array(is_silent), values, impressions[name].combine_chunks()])
        impressions = impressions.set_column(impressions.column_names.index(name), name, merged)
    return impressions


def _pairs(shown: Shown, told: Told, members: Ragged, gap_us: int) -> Int[np.ndarray, "pairs two"]:
    """Returns pairs of an impression and an event that counts for it."""
    numbers = sessions_of(told, gap_us)
    first = _first_after(shown, told)
    here = np.flatnonzero(first >= 0)
    here = here[told.timestamp_us[first[here]] - shown.timestamp_us[here] <= gap_us]
    # All events of the same listener from the first one after the impression on; those of other sessions are dropped
    # below.
    bounds = np.searchsorted(told.user, [0, 0]) if not len(told.user) else _ends(told.user)
    end = bounds[first[here]] if len(told.user) else np.zeros(0, np.int64)
    lengths = end - first[here]
    row = np.repeat(here, lengths)
    event = np.repeat(first[here] - np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64), lengths)
    event = event + np.arange(lengths.sum())
    fits = numbers[event] == numbers[first[row]]
    row, event = row[fits], event[fits]
    fits = _is_of(shown.content_row[row], told.content_row[event], members)
    row, event = row[fits], event[fits]
    # An event belongs to the last impression before it; of simultaneous ones to the first row.
    order = np.lexsort((row, -shown.timestamp_us[row], event))
    row, event = row[order], event[order]
    is_first = np.diff(event, prepend=-1) != 0
    return np.stack([row[is_first], event[is_first]], axis=1).astype(np.int64)


def _ends(user: Integer[np.ndarray, " events"]) -> Int[np.ndarray, " events"]:
    """Returns, for each event, one past the last event of its listener."""
    starts = np.flatnonzero(np.diff(user, prepend=user[0] - 1))
    ends = np.append(starts[1:], len(user))
    return np.repeat(ends, ends - starts)


def _first_after(shown: Shown, told: Told) -> Int[np.ndarray, " rows"]:
    """Returns the place of the listener's first event at or after each impression; -1 where there is none."""
    starts = np.flatnonzero(np.diff(told.user, prepend=-2)) if len(told.user) else np.zeros(0, np.int64)
    ends = np.append(starts[1:], len(told.user))
    found = np.full(len(shown.user), -1)
    place = {user: at for at, user in enumerate(told.user[starts].tolist())}
    order = np.argsort(shown.user, kind="stable")
    users, begins = np.unique(shown.user[order], return_index=True)
    for user, own in zip(users.tolist(), np.split(order, begins[1:]), strict=True):
        if user not in place:
            continue
        begin, end = starts[place[user]], ends[place[user]]
        at = begin + np.searchsorted(told.timestamp_us[begin:end], shown.timestamp_us[own])
        found[own] = np.where(at < end, at, -1)
    return found


def _is_of(
    card: Integer[np.ndarray, " pairs"], content: Integer[np.ndarray, " pairs"], members: Ragged
) -> Bool[np.ndarray, " pairs"]:
    """Returns whether each content is the card itself or one of its members."""
    is_it = (card == content) & (card >= 0)
    known = np.flatnonzero((card >= 0) & (content >= 0) & ~is_it)
    if not len(known) or not len(members.values):
        return is_it
    width = int(max(members.values.max(), content.max())) + 1
    keys = np.sort(members.list_of_value.astype(np.int64) * width + members.values)
    wanted = card[known].astype(np.int64) * width + content[known]
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    is_it[known] = keys[at] == wanted
    return is_it


def _any(row: np.ndarray, is_true: np.ndarray, rows: int) -> Bool[np.ndarray, " rows"]:
    return np.bincount(row[is_true], minlength=rows)[:rows] > 0
