"""Counts all events of a store by day and by content, in one pass over blocks of whole listeners."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Integer

from towers.contract import schema
from towers.contract.durations import DAY_US, HOUR_US, SECOND_US
from towers.data.blocks import blocks
from towers.data.histories import Histories

HALF = 0.5
LONGEST_SESSION = 1_000
"""Events of a session from which on all are counted as this many."""
BLOCK = 1 << 19
"""Events that are counted at once: each block adds to tables of all days."""
NUM_ACTIONS, NUM_KINDS = len(schema.ACTIONS), len(schema.KINDS) + 1
MOST_SAMPLED = 4_000_000
"""Events that are looked for on the day before."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of events, which `tally` fills.

    Args:
        first_day: the day of row 0 in arrays by day, in days since 1970; without a clock all events are on one day.
        hours: `[days, 24]`, events by hour.
        actions: `[days, actions, 3]`, events that are not positive, repeats, and first positive ones with a content.
        contents: `[days, kinds, 2, 2]`, events by their content's kind (the last: no content), whether it is listed,
            and whether it can be heard.
        contexts: `[days, contexts]`, events.
        devices: `[days, devices]`, events.
        listeners: `[days]`, listeners with an event.
        sessions: `[days]`, sessions that began.
        at_once: `[days]`, events as in `Day.at_once`.
        played: `[days, 2]`, plays whose length is known: those that lasted under half of their content, and the others.
        by_content: `[contents]`, events.
        first_heard: `[contents + 1]`, day of the first event, or the number of days where there is none; the last entry
            is for events without a content.
        first_done: `[listeners]`, day of the first event, or the number of days where there is none.
        session_sizes: `[LONGEST_SESSION + 1]`, sessions by their number of events.
        sessionless: number of events whose session is not known.
    """

    first_day: int
    hours: Int[np.ndarray, "days 24"]
    actions: Int[np.ndarray, "days actions 3"]
    contents: Int[np.ndarray, "days kinds 2 2"]
    contexts: Int[np.ndarray, "days contexts"]
    devices: Int[np.ndarray, "days devices"]
    listeners: Int[np.ndarray, " days"]
    sessions: Int[np.ndarray, " days"]
    at_once: Int[np.ndarray, " days"]
    played: Int[np.ndarray, "days 2"]
    by_content: Int[np.ndarray, " contents"]
    first_heard: Int[np.ndarray, " contents_and_none"]
    first_done: Int[np.ndarray, " listeners"]
    session_sizes: Int[np.ndarray, " sizes"]
    sessionless: int = 0

    @property
    def num_days(self) -> int:
        """Number of days from the first event to the last."""
        return len(self.listeners)


def tally(
    histories: Histories,
    *,
    has_clock: bool,
    content_class: Integer[np.ndarray, " contents_and_none"],
    context_of: Integer[np.ndarray, " contexts"],
    device_of: Integer[np.ndarray, " devices"],
) -> Tally:
    """Counts all events; memory grows with days, contents and listeners, but not with events.

    Args:
        histories: the store's events.
        has_clock: whether timestamps are times.
        content_class: `[contents + 1]`, as `ContentFacts.classes` gives it.
        context_of: the column of `Tally.contexts` for each code.
        device_of: the column of `Tally.devices` for each code.
    """
    offsets = np.asarray(histories.offsets)
    first_us, last_us = _ends(histories, offsets)
    first_day = first_us // DAY_US if has_clock else 0
    days = last_us // DAY_US - first_day + 1 if has_clock else 1
    num_contents = len(content_class) - 1
    found = Tally(
        first_day=first_day,
        hours=np.zeros((days, 24), np.int64),
        actions=np.zeros((days, NUM_ACTIONS, 3), np.int64),
        contents=np.zeros((days, NUM_KINDS, 2, 2), np.int64),
        contexts=np.zeros((days, int(context_of.max()) + 1), np.int64),
        devices=np.zeros((days, int(device_of.max()) + 1), np.int64),
        listeners=np.zeros(days, np.int64),
        sessions=np.zeros(days, np.int64),
        at_once=np.zeros(days, np.int64),
        played=np.zeros((days, 2), np.int64),
        by_content=np.zeros(num_contents, np.int64),
        first_heard=np.full(num_contents + 1, days, np.int32),
        first_done=np.full(len(offsets) - 1, days, np.int64),
        session_sizes=np.zeros(LONGEST_SESSION + 1, np.int64),
    )
    for block in blocks(offsets, BLOCK):
        first, last = block.users.start, block.users.stop
        _add(found, histories, offsets[first : last + 1], first, has_clock, content_class, context_of, device_of)
    return found


def _add(
    found: Tally,
    histories: Histories,
    offsets: np.ndarray,
    first: int,
    has_clock: bool,
    content_class: np.ndarray,
    context_of: np.ndarray,
    device_of: np.ndarray,
) -> None:
    begin, end = int(offsets[0]), int(offsets[-1])
    if begin == end:
        return
    days, places = found.num_days, slice(begin, end)
    row, action = np.asarray(histories.content_row[places]), np.asarray(histories.action[places])
    time_us, session = np.asarray(histories.timestamp_us[places]), np.asarray(histories.session[places])
    # Divided as floats, which is ten times as fast as integers and exact from 1970 to 2100.
    hour = (time_us / HOUR_US).astype(np.int32) - np.int32(24 * found.first_day) if has_clock else np.zeros_like(row)
    day = hour // np.int32(24)

    def by_day(column: np.ndarray, code: np.ndarray) -> None:
        flat, width = column.reshape(-1), column.size // days
        flat += np.bincount(day * np.int32(width) + code, minlength=len(flat))

    if has_clock:
        found.hours.reshape(-1)[:] += np.bincount(hour, minlength=24 * days)
    positive = np.asarray(histories.is_positive[places]).view(np.int8)
    discovery = np.asarray(histories.is_discovery[places]).view(np.int8)
    by_day(found.actions, action * np.int8(3) + positive + (positive & discovery))
    by_day(found.contents, content_class[row])
    by_day(found.contexts, context_of[histories.context[places]])
    by_day(found.devices, device_of[histories.device[places]])
    fraction = np.asarray(histories.played_fraction[places])
    timed = np.flatnonzero((action == schema.PLAY) & (fraction >= 0))
    found.played.reshape(-1)[:] += np.bincount(2 * day[timed] + (fraction[timed] >= HALF), minlength=2 * days)
    np.add.at(found.by_content, row[row >= 0], 1)
    np.minimum.at(found.first_heard, row, day)  # both of one type: with two types this takes forty times as long

    starts, lengths = offsets[:-1] - begin, np.diff(offsets)
    some = lengths > 0
    begins = np.zeros(end - begin, dtype=np.bool_)
    begins[starts[some]] = True
    found.first_done[first : first + len(lengths)][some] = day[starts[some]]
    is_new_day = begins.copy()
    is_new_day[1:] |= day[1:] != day[:-1]
    found.listeners += np.bincount(day[is_new_day], minlength=days)

    place_of_first = np.repeat(starts.astype(np.int32), lengths)
    has_session = session >= 0
    opening = (session + place_of_first)[has_session]
    found.sessionless += len(row) - len(opening)
    is_opening = session == np.arange(end - begin, dtype=np.int32) - place_of_first
    found.sessions += np.bincount(day[is_opening], minlength=days)
    if len(opening):
        sizes = np.bincount(opening)
        found.session_sizes += np.bincount(np.minimum(sizes[sizes > 0], LONGEST_SESSION), minlength=LONGEST_SESSION + 1)
    if has_clock:
        again = _said_again(row, action, time_us, place_of_first)
        found.at_once += np.bincount(day[again], minlength=days)


def _said_again(row: np.ndarray, action: np.ndarray, time_us: np.ndarray, listener: np.ndarray) -> np.ndarray:
    """Finds places of events that repeat one of the two events before them within a second."""
    found = []
    for lag in (1, 2):
        later = np.flatnonzero(row[lag:] == row[:-lag]) + lag
        earlier = later - lag
        same = (
            (row[later] >= 0)
            & (action[later] == action[earlier])
            & (listener[later] == listener[earlier])
            & (time_us[later] - time_us[earlier] < SECOND_US)
        )
        found.append(later[same])
    return np.union1d(*found)


def shares_as_day_before(
    histories: Histories, first_day: int, num_days: int, num_events: int
) -> Int[np.ndarray, "days 2"]:
    """`[days, 2]`: the number of events of a day, and of those with an equal event exactly a day before.

    Events are equal in listener, content, action and second. Where there are many events, a sample is looked at.

    Args:
        histories: events of a store with a clock.
        first_day: the day before the first day to judge, in days since 1970.
        num_days: number of days to judge.
        num_events: approximate number of events on these days.
    """
    offsets = np.asarray(histories.offsets)
    every = np.uint64(max(num_events // MOST_SAMPLED, 1))
    begin_s = first_day * 86_400
    kept: list[np.ndarray] = []
    for block in blocks(offsets, BLOCK):
        first, last = block.users.start, block.users.stop
        begin, end = int(offsets[first]), int(offsets[last])
        time_us = np.asarray(histories.timestamp_us[begin:end])
        places = np.flatnonzero(
            (time_us >= begin_s * SECOND_US) & (time_us < (begin_s + 86_400 * (num_days + 1)) * SECOND_US)
        )
        listener = np.searchsorted(offsets, places + begin, side="right").astype(np.uint64)
        what = np.asarray(histories.content_row[begin:end])[places].astype(np.uint64) * np.uint64(NUM_ACTIONS)
        what += np.asarray(histories.action[begin:end])[places].astype(np.uint64)
        who = (listener * np.uint64(0x9E3779B97F4A7C15)) ^ (what * np.uint64(0xC2B2AE3D27D4EB4F))
        who ^= who >> np.uint64(29)
        who *= np.uint64(0xBF58476D1CE4E5B9)
        seconds = (time_us[places] // SECOND_US - begin_s).astype(np.uint64)
        sampled = (who >> np.uint64(40)) % every == 0
        # 24 bits of the second leave room for half a year; the rest tells listener and content apart.
        kept.append(((who[sampled] >> np.uint64(24)) << np.uint64(24)) | seconds[sampled])
    # Sorted instead of np.unique, which hashes and takes far longer.
    key = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.uint64)
    key = key[np.concatenate([[True], key[1:] != key[:-1]])] if len(key) else key
    seconds = key & np.uint64(0xFFFFFF)
    has_before = seconds >= 86_400
    day = (seconds // np.uint64(86_400)).astype(np.int64)
    before = key[has_before] - np.uint64(86_400)
    place = np.minimum(np.searchsorted(key, before), max(len(key) - 1, 0))
    is_equal = key[place] == before
    days_of = day[has_before]
    return np.stack(
        [
            np.bincount(days_of, minlength=num_days + 1)[1:],
            np.bincount(days_of[is_equal], minlength=num_days + 1)[1:],
        ],
        axis=1,
    )


def _ends(histories: Histories, offsets: np.ndarray) -> tuple[int, int]:
    """Returns the first and the last time; relies on each listener's events being in order of time."""
    some = np.diff(offsets) > 0
    if not some.any():
        return 0, 0
    times = histories.timestamp_us
    return int(times[offsets[:-1][some]].min()), int(times[offsets[1:][some] - 1].max())
