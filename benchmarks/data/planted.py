"""Faults of an upstream, each as a change of raw tables: what benchmarks plant into a day of clean data."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from towers.contract.durations import DAY_US, HOUR_US


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Raw tables: events before the last day, events of the last day, and contents."""

    past: pa.Table
    day: pa.Table
    contents: pa.Table

    @property
    def day_before(self) -> pa.Table:
        """The events of the day before the last day."""
        days = day_of(self.past)
        return self.past.filter(pa.array(days == days.max()))


def day_of(events: pa.Table) -> np.ndarray:
    """Returns the day of each event, in days since 1970."""
    return events["timestamp"].cast(pa.int64()).to_numpy() // DAY_US


def shifted(events: pa.Table, hours: float) -> pa.Table:
    """Moves the events to some hours later."""
    moved = events["timestamp"].cast(pa.int64()).to_numpy() + round(hours * HOUR_US)
    times = pa.array(moved, pa.timestamp("us", tz="UTC"))
    return events.set_column(events.column_names.index("timestamp"), "timestamp", times)


def put(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Replaces a column of a table."""
    at = table.column_names.index(name)
    return table.set_column(at, table.field(name), pa.chunked_array(values).cast(table.field(name).type))


def without(table: pa.Table, name: str, *values: str) -> pa.Table:
    """Removes the rows that have one of the values."""
    return table.filter(pc.invert(pc.is_in(table[name], pa.array(values)).fill_null(False)))


def some(table: pa.Table, share: float) -> np.ndarray:
    """Draws a share of the rows with seed 0; returns whether each row is among them."""
    return np.random.default_rng(0).random(len(table)) < share


def renamed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Replaces ids by new ones."""
    return pc.binary_join_element_wise(pa.scalar("new"), texts, "-")


def permuted(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Permutes ids, so that each stands for another."""
    known = pc.unique(texts.drop_null())
    other = known.take(pa.array(np.random.default_rng(0).permutation(len(known))))
    return other.take(pc.index_in(texts, known))


def shuffled(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Gives each row the value of another."""
    return values.take(pa.array(np.random.default_rng(0).permutation(len(values))))


def of_kind(raw: Raw, kind: str) -> list[str]:
    """Returns the ids of contents of a kind."""
    return raw.contents.filter(pc.equal(raw.contents["kind"], kind))["content_id"].to_pylist()


def blank(table: pa.Table, name: str) -> pa.Table:
    """Sets a column to null."""
    return put(table, name, pa.nulls(len(table), table.field(name).type))


def day(change: Callable[[Raw], pa.Table]) -> Callable[[Raw], Raw]:
    """Makes a fault of the day's events alone."""
    return lambda raw: replace(raw, day=change(raw))


def contents(change: Callable[[pa.Table], pa.Table]) -> Callable[[Raw], Raw]:
    """Makes a fault of the contents alone."""
    return lambda raw: replace(raw, contents=change(raw.contents))


def skipped(raw: Raw) -> pa.Table:
    """Turns half of the plays into skips."""
    is_play = pc.equal(raw.day["action"], "play").to_numpy() & some(raw.day, 0.5)
    return put(raw.day, "action", pc.if_else(pa.array(is_play), "skip", raw.day["action"]))


def mostly_later(raw: Raw, share: float, hours: float) -> pa.Table:
    """Moves a share of the events to some hours later."""
    chosen = some(raw.day, share)
    return pa.concat_tables([raw.day.filter(pa.array(~chosen)), shifted(raw.day.filter(pa.array(chosen)), hours)])


def twice(raw: Raw, seconds: float, share: float = 1.0) -> pa.Table:
    """Repeats all events some seconds later."""
    again = shifted(raw.day.filter(pa.array(some(raw.day, share))), seconds / 3_600)
    return pa.concat_tables([raw.day, again])


FAULTS: dict[str, tuple[str, Callable[[Raw], Raw]]] = {
    "half of the events missing": ("events_missing", day(lambda raw: raw.day.filter(pa.array(some(raw.day, 0.5))))),
    "two thirds of the listeners missing": (
        "events_missing",
        day(lambda raw: raw.day.filter(pc.equal(pc.match_substring_regex(raw.day["user_id"], "[012]$"), True))),
    ),
    "stops at noon": (
        "day_ends_early",
        day(lambda raw: raw.day.filter(pc.less(pc.hour(raw.day["timestamp"]), 12))),
    ),
    "no event": ("nothing_new", day(lambda raw: raw.day.slice(0, 0))),
    "a day without an event before it": ("day_empty", day(lambda raw: shifted(raw.day, 24))),
    "yesterday's file again": ("day_once_more", day(lambda raw: raw.day_before)),
    "yesterday's events with today's date": ("day_once_more", day(lambda raw: shifted(raw.day_before, 24))),
    "yesterday's file, too": ("day_once_more", day(lambda raw: pa.concat_tables([raw.day, raw.day_before]))),
    "no skip": ("action_gone", day(lambda raw: without(raw.day, "action", "skip"))),
    "no like": ("action_gone", day(lambda raw: without(raw.day, "action", "like"))),
    "no episode": ("kind_gone", day(lambda raw: without(raw.day, "content_id", *of_kind(raw, "episode")))),
    "context lost": ("context_gone", day(lambda raw: blank(raw.day, "context"))),
    "no phone": ("device_gone", day(lambda raw: without(raw.day, "device", "phone"))),
    "clocks 1 h later": ("clocks_shifted", day(lambda raw: shifted(raw.day, 1))),
    "clocks 2 h earlier": ("clocks_shifted", day(lambda raw: shifted(raw.day, -2))),
    "clocks 7 h earlier": ("clocks_shifted", day(lambda raw: shifted(raw.day, -7))),
    "1 % a year later": ("future_times", day(lambda raw: mostly_later(raw, 0.01, 24 * 365))),
    "everything twice": ("sent_twice", day(lambda raw: twice(raw, 0))),
    "everything twice, 0.3 s apart": ("sent_twice", day(lambda raw: twice(raw, 0.3))),
    "one client of four sends twice": ("sent_twice", day(lambda raw: twice(raw, 0, 0.25))),
    "half of the plays skipped": ("skip_rate", day(skipped)),
    "actions of other events": ("long_play_rate", day(lambda raw: put(raw.day, "action", shuffled(raw.day["action"])))),
    "clocks a day earlier": ("events_too_many", day(lambda raw: shifted(raw.day, -24))),
    "listeners' ids issued anew": (
        "new_listeners",
        day(lambda raw: put(raw.day, "user_id", renamed(raw.day["user_id"]))),
    ),
    "listeners' ids given to others": (
        "repeat_rate",
        day(lambda raw: put(raw.day, "user_id", permuted(raw.day["user_id"]))),
    ),
    "contents' ids given to others, in events": (
        "repeat_rate",
        day(lambda raw: put(raw.day, "content_id", permuted(raw.day["content_id"]))),
    ),
    "contents' ids issued anew": (
        "content_ids_reissued",
        lambda raw: replace(
            raw,
            day=put(raw.day, "content_id", renamed(raw.day["content_id"])),
            contents=put(raw.contents, "content_id", renamed(raw.contents["content_id"])),
        ),
    ),
    "contents' ids given to others, in contents": (
        "content_ids_rebound",
        contents(lambda table: put(table, "content_id", permuted(table["content_id"]))),
    ),
    "genres lost": ("metadata_gone", contents(lambda table: blank(table, "genres"))),
    "artists lost": ("metadata_gone", contents(lambda table: blank(table, "artist_ids"))),
    "half of the contents lost": ("shrunk", contents(lambda table: table.filter(pa.array(some(table, 0.5))))),
    "sounds lost": ("sound_gone", contents(lambda table: blank(table, "audio"))),
    "half of the rows without a listener": (
        "rows_rejected",
        day(lambda raw: put(raw.day, "user_id", pc.if_else(pa.array(some(raw.day, 0.5)), None, raw.day["user_id"]))),
    ),
}
"""Faults by name: the rule that has to find each, and how it is planted."""
