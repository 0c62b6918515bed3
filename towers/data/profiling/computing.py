"""Computes the profile of a prepared store from its memory-mapped files."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from towers.contract import schema
from towers.contract.durations import DAY_US
from towers.data.event_times import shown_time
from towers.data.profiling.contents import NONE, SOUND, ContentFacts, facts_of
from towers.data.profiling.profile import UNKNOWN, Day, Profile
from towers.data.profiling.signatures import BINS, FEWEST_A_BIN, bindings, signature
from towers.data.profiling.tally import Tally, shares_as_day_before, tally
from towers.data.rejecting import DUPLICATE
from towers.data.store import Store
from towers.manifest import digest_of

DETAILED = 70
"""Days, the last ones, that are told in detail: ten weeks."""
COMPARED = 14
"""Days, the last ones, that are held against the day before."""
MOST_DAYS = 3_660
"""Days of `Profile.daily`."""
FULL = 0.05
"""The first and the last day of the data have at least this share of the median day's events; days with fewer events
beyond them come from wrong clocks."""
GAP, RARE = 28, 0.01
"""Days without an event, and the share of all events that must stand beyond them for these to be days of the data."""
MOST_VALUES = 20
"""Contexts or devices that are told by name; the rest are `others`."""
OTHERS = "others"
NUM_TOP, NUM_REASONS = 10, 10
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_SAID_TWICE = (DUPLICATE, "the same event is in another row, with other values")


def profile_of(store: Store) -> Profile:
    """Computes the profile of a store in one pass over all events and a short one over the last days."""
    histories, facts = store.histories, facts_of(store)
    columns = {name: _columns(store, name) for name in schema.EVENT_VOCABULARIES}
    counted = tally(
        histories,
        has_clock=store.has_clock,
        content_class=facts.classes(),
        context_of=columns["context"][1],
        device_of=columns["device"][1],
    )
    names = {name: found[0] for name, found in columns.items()}
    first, last = _bulk(counted.hours.sum(axis=1)) if store.has_clock else (0, -1)
    duplicates, by_day = _duplicates(store, counted)
    events = int(counted.listeners.sum() and len(histories.action))
    positive = counted.actions[:, :, 1:].sum(axis=(0, 1))
    by_action = counted.actions.sum(axis=(0, 2))
    played = int(by_action[schema.PLAY] + by_action[schema.SKIP])
    each = np.diff(np.asarray(histories.offsets))
    number = int(counted.sessions.sum())
    shown = slice(max(first, last + 1 - MOST_DAYS), last + 1)
    new_users = _firsts(counted.first_done, counted.num_days)
    new_contents = _firsts(counted.first_heard[:-1], counted.num_days)
    outside = counted.hours.sum(axis=1)
    listed = store.contents.select(["content_id", "title", "artist_ids"]).filter(pa.array(facts.is_listed))
    return Profile(
        store=store.fingerprint,
        settings=digest_of([store.manifest.get(name) for name in ("format", "features", "split", "filters", "source")])[
            :16
        ],
        has_clock=store.has_clock,
        counts={
            "events": events,
            "positives": int(positive.sum()),
            "users": len(store.users) - store.users["user_id"].null_count,
            "users_with_events": int((each > 0).sum()),
            "contents": int((~facts.is_hole).sum()),
            "listed": int(facts.is_listed.sum()),
            "withdrawn": int(facts.is_withdrawn.sum()),
            "by_id_alone": int((~facts.is_hole & ~facts.is_listed & ~facts.is_withdrawn).sum()),
            "with_events": int((counted.by_content > 0).sum()),
            "events_earlier": int(outside[:first].sum()) if store.has_clock else 0,
            "events_later": int(outside[last + 1 :].sum()) if store.has_clock else 0,
        },
        span=_span(store, counted) if store.has_clock and events else (),
        actions=_named(by_action, schema.ACTIONS),
        kinds=_named(counted.contents.sum(axis=(0, 2, 3))[:NONE], schema.KINDS),
        contexts=_named(counted.contexts.sum(axis=0), names["context"]),
        devices=_named(counted.devices.sum(axis=0), names["device"]),
        contents_by_kind=_named(np.bincount(facts.kind[~facts.is_hole], minlength=NONE)[:NONE], schema.KINDS),
        hours=tuple(counted.hours.sum(axis=0).tolist()),
        first_day=_iso(counted.first_day + shown.start) if last >= 0 else "",
        daily={
            "events": tuple(outside[shown].tolist()),
            "new_users": tuple(new_users[shown].tolist()),
            "new_contents": tuple(new_contents[shown].tolist()),
        },
        days=_days(store, counted, names, (first, last), (new_users, new_contents), by_day),
        sessions={
            "number": number,
            "unknown_share": _share(counted.sessionless, events),
            "events_each": _quantiles_of_counts(counted.session_sizes),
        },
        rates={
            "skips": _share(int(by_action[schema.SKIP]), played),
            "repeats": _share(int(positive[0]), int(positive.sum())),
            "at_once": _share(int(counted.at_once.sum()), events) if store.has_clock else None,
            "duplicates": _share(duplicates, events + duplicates),
        },
        lacking=_lacking(facts, counted.by_content),
        **_rejected(store, events),
        top=_top(store, counted.by_content),
        activity=_quantiles(each),
        signatures={
            "contents": signature(listed["content_id"]),
            "users": signature(store.users["user_id"], FEWEST_A_BIN * BINS),
            "titles": signature(bindings(listed)),
        },
    )


def _bulk(events: Int[np.ndarray, " days"]) -> tuple[int, int]:
    """Finds the first and the last day of the data without stray days of wrong clocks, which have hardly any events or
    lie beyond a long gap. The day after the last full one counts, as it may have just begun."""
    some = np.flatnonzero(events)
    if not len(some):
        return 0, -1
    runs = np.split(some, np.flatnonzero(np.diff(some) > GAP) + 1)
    some = np.concatenate([run for run in runs if events[run].sum() >= RARE * events.sum()])
    full = some[events[some] >= FULL * np.median(events[some])]
    last = int(full[-1])
    return int(full[0]), last + int(last + 1 < len(events) and events[last + 1] > 0)


def _days(
    store: Store,
    counted: Tally,
    names: Mapping[str, list[str]],
    bounds: tuple[int, int],
    new: tuple[np.ndarray, np.ndarray],
    duplicates: np.ndarray,
) -> tuple[Day, ...]:
    first, last = max(bounds[0], bounds[1] + 1 - DETAILED), bounds[1]
    if last < first:
        return ()
    compared = min(COMPARED, last + 1 - first)
    begin = last + 1 - compared
    number = int(counted.hours[begin : last + 1].sum())
    same = shares_as_day_before(store.histories, counted.first_day + begin - 1, compared, number)
    kinds = counted.contents.sum(axis=(2, 3))[:, :NONE]
    unlisted, silent = counted.contents[:, :NONE, 0].sum(axis=(1, 2)), counted.contents[:, :NONE, :, 0].sum(axis=(1, 2))
    chosen = counted.actions[:, :, 1:].sum(axis=1)
    found = []
    for day in range(first, last + 1):
        looked, equal = same[day - begin].tolist() if day >= begin else (0, 0)
        found.append(
            Day(
                date=_iso(counted.first_day + day),
                events=int(counted.hours[day].sum()),
                hours=tuple(counted.hours[day].tolist()),
                actions=_named(counted.actions[day].sum(axis=1), schema.ACTIONS),
                kinds=_named(kinds[day], schema.KINDS),
                contexts=_named(counted.contexts[day], names["context"]),
                devices=_named(counted.devices[day], names["device"]),
                listeners=int(counted.listeners[day]),
                new_listeners=int(new[0][day]),
                new_contents=int(new[1][day]),
                sessions=int(counted.sessions[day]),
                positives=int(chosen[day].sum()),
                repeats=int(chosen[day, 0]),
                at_once=int(counted.at_once[day]),
                duplicates=int(duplicates[day]),
                unlisted=int(unlisted[day]),
                silent=int(silent[day]),
                timed_plays=int(counted.played[day].sum()),
                long_plays=int(counted.played[day, 1]),
                as_day_before=equal / looked if looked else 0.0,
            )
        )
    return tuple(found)


def _columns(store: Store, name: str) -> tuple[list[str], np.ndarray]:
    """Assigns a vocabulary's codes to columns of counts: the most frequent values have a column each, the rest
    share the last. Returns the columns' names, and the column of each code."""
    values = [UNKNOWN, *store.vocabulary(name).values]
    if len(values) <= MOST_VALUES + 1:
        return values, np.arange(len(values), dtype=np.int32)
    codes, frequency = getattr(store.histories, name), np.zeros(len(values), np.int64)
    for start in range(0, len(codes), 1 << 20):
        frequency += np.bincount(codes[start : start + (1 << 20)], minlength=len(values))
    kept = np.sort(np.append(np.argsort(-frequency[1:], kind="stable")[:MOST_VALUES] + 1, 0))
    column = np.full(len(values), len(kept), dtype=np.int32)
    column[kept] = np.arange(len(kept))
    return [*(values[code] for code in kept), OTHERS], column


def _duplicates(store: Store, counted: Tally) -> tuple[int, np.ndarray]:
    """Counts events that were left out as repeats of another: in all, and for each day of the tally."""
    path, by_day, number = store.folder / "rejected" / f"{schema.EVENTS}.parquet", np.zeros(counted.num_days, int), 0
    if not path.exists():
        return 0, by_day
    with pq.ParquetFile(path) as file:
        is_timed = store.has_clock and "timestamp_us" in file.schema_arrow.names
        names = ["reason", "timestamp_us"] if is_timed else ["reason"]
        for batch in file.iter_batches(columns=names):
            reasons = batch.column(0).dictionary_encode()
            meant = np.array([reason in _SAID_TWICE for reason in reasons.dictionary.to_pylist()], dtype=np.bool_)
            is_meant = meant[reasons.indices.to_numpy(zero_copy_only=False)]
            number += int(is_meant.sum())
            if is_timed:
                times = batch.column(1).to_numpy(zero_copy_only=False)[is_meant]
                day = times.astype(np.int64) // DAY_US - counted.first_day
                by_day += np.bincount(day[(day >= 0) & (day < counted.num_days)], minlength=counted.num_days)
    return number, by_day


def _rejected(store: Store, events: int) -> dict[str, Any]:
    found = store.rejected()
    kept = {schema.EVENTS: events, schema.CONTENTS: len(store.contents), schema.USERS: len(store.users)}
    kept[schema.PLAYLISTS] = int(store.playlists.num_rows)
    shares = {}
    for table, reasons in found.items():
        faulty = sum(number for reason, number in reasons.items() if reason not in _SAID_TWICE)
        if table in kept and faulty:
            shares[table] = faulty / (faulty + kept[table])
    shown = {}
    for table, reasons in found.items():
        ranked = list(reasons.items())
        rest = sum(number for _, number in ranked[NUM_REASONS:])
        shown[table] = dict(ranked[:NUM_REASONS]) | ({OTHERS: rest} if rest else {})
    return {"rejected": shown, "rejected_share": shares}


def _lacking(facts: ContentFacts, by_content: Int[np.ndarray, " contents"]) -> dict[str, dict[str, float]]:
    is_listed, is_heard = facts.is_listed & facts.is_playable, facts.is_playable
    all_contents, all_events = int(is_listed.sum()), int(by_content[is_heard].sum())
    return {
        part: {
            "contents": int((lacks & is_listed).sum()) / max(all_contents, 1),
            "events": int(by_content[lacks & is_heard].sum()) / max(all_events, 1),
        }
        for part, lacks in facts.lacks.items()
        if part != SOUND or all_contents
    }


def _top(store: Store, by_content: Int[np.ndarray, " contents"]) -> tuple[dict[str, Any], ...]:
    number = min(NUM_TOP, int((by_content > 0).sum()))
    if not number:
        return ()
    rows = np.argpartition(-by_content, number - 1)[:number]
    rows = rows[np.lexsort((rows, -by_content[rows]))]
    shown = store.contents.select(["content_id", "title", "kind"]).take(rows).to_pylist()
    return tuple({**content, "events": int(by_content[row])} for content, row in zip(shown, rows, strict=True))


def _firsts(day_of: Int[np.ndarray, " things"], num_days: int) -> Int[np.ndarray, " days"]:
    return np.bincount(day_of, minlength=num_days + 1)[:num_days]


def _quantiles(numbers: np.ndarray) -> dict[str, float]:
    """Returns the quantiles of the numbers above 0, by quantile."""
    some = numbers[numbers > 0]
    return {f"{q:g}": float(np.quantile(some, q)) for q in QUANTILES} if len(some) else {}


def _quantiles_of_counts(counts: Int[np.ndarray, " values"]) -> dict[str, float]:
    """Returns the quantiles of values of which `counts` says how often each occurs, by quantile."""
    until = np.cumsum(counts)
    if not until[-1]:
        return {}
    return {f"{q:g}": float(np.searchsorted(until, max(q * until[-1], 1))) for q in QUANTILES}


def _named(numbers: np.ndarray, names: list[str] | tuple[str, ...]) -> dict[str, int]:
    return {name: int(number) for name, number in zip(names, numbers.tolist(), strict=False) if number}


def _share(number: int, of: int) -> float | None:
    return number / of if of else None


def _span(store: Store, counted: Tally) -> tuple[str, str]:
    histories = store.histories
    offsets = np.asarray(histories.offsets)
    some = np.diff(offsets) > 0
    first, last = histories.timestamp_us[offsets[:-1][some]].min(), histories.timestamp_us[offsets[1:][some] - 1].max()
    return shown_time(int(first)), shown_time(int(last))


def _iso(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=int(day))).isoformat()
