"""Checks that training, histories and vectors use no data from the future."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from jaxtyping import Int

from towers.contract.durations import DAY_US
from towers.contract.provenance import Provenance
from towers.contract.schema import ACTIONS
from towers.data.store import Store
from towers.evaluation.checks.honesty import Check
from towers.evaluation.known import Known
from towers.evaluation.slicings import Period
from towers.evaluation.task import EvaluationTask
from towers.features.ragged import Ragged

View = Callable[[Store], np.ndarray]
"""Function from a store to all that a model or baseline reads of it, as one array, such as listeners' vectors."""

SAMPLE: Final = 200
SHIFT_DAYS: Final = 30


def sampled_rows(task: EvaluationTask, *, seed: int = 0, size: int = SAMPLE) -> Int[np.ndarray, " sample"]:
    """Returns the store rows of a sample of the task's listeners (all of whom have later events), ascending."""
    rows = task.user_rows
    return np.sort(np.random.default_rng(seed).choice(rows, min(size, len(rows)), replace=False))


def trained_before(store: Store, period: Period, provenance: Provenance) -> Check:
    """Checks that the model's training period ended before the evaluated period begins.

    On the store of its own training that holds by construction. There is no verdict if either time is unknown. Whether
    an epoch was selected by events of the period is not checked.

    Args:
        store: store of the evaluation.
        period: period that contains the targets.
        provenance: data on which the model was trained; the end of training is not needed if it was this store.
    """
    name, start_us = f"trained before {period}", store.manifest.get(f"{period}_start_us")
    if provenance.trained_on == store.fingerprint:
        reached, is_before = "training period", True
        if provenance.has_seen_test:
            reached, is_before = "whole", False
        elif provenance.has_seen_validation:
            reached, is_before = "training and validation periods", period == "test"
        return Check(name=name, passed=is_before, detail=f"on the {reached} of this very store")
    trained_until_us = provenance.trained_until_us
    if trained_until_us is None or start_us is None:
        unknown = "when training ended" if trained_until_us is None else f"when {period} begins"
        return Check(name=name, passed=None, detail=f"on another store; {unknown} is not known")
    until, start = (f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M}" for us in (trained_until_us, start_us))
    return Check(
        name=name,
        passed=trained_until_us <= start_us,
        detail=f"on another store until {until} UTC; {period} begins {start} UTC",
        figures={"days_between": (start_us - trained_until_us) / DAY_US},
    )


def future_leak(store: Store, period: Period, views: Mapping[str, View], *, seed: int = 0) -> Check:
    """Checks that no view changes by a single bit if every event from the start of the period on is replaced.

    If a view also stays the same when the events *before* the period are replaced, it does not read the histories of
    the given store, and the check has no verdict.

    The number of a listener's later events is not changed. The check needs memory for a copy of the histories.

    Args:
        store: prepared store.
        period: period whose events are the future.
        views: views by name; `baseline_view` is one.
        seed: seed of the replacements.
    """
    is_later = _is_later(store, period)
    later = with_other_events(store, is_later, SHIFT_DAYS, seed)
    earlier = with_other_events(store, ~is_later, -SHIFT_DAYS, seed)
    leaking, blind = [], []
    for name, view in views.items():
        seen = view(store)
        changed = _changed_rows(seen, view(later))
        if changed:
            leaking.append(f"{name}: {changed:,} of {len(seen):,} rows change")
        elif not _changed_rows(seen, view(earlier)):
            blind.append(name)
    detail = f"{', '.join(views)}: the same to the bit"
    if leaking:
        detail = "; ".join(leaking)
    elif blind:
        detail = f"{', '.join(blind)}: reads no history, so that no leak can show"
    return Check(
        name=f"the future before {period}",
        passed=False if leaking else None if blind else True,
        detail=f"{detail} ({int(is_later.sum()):,} later events replaced)",
        figures={"replaced_events": float(is_later.sum()), "leaking_views": float(len(leaking))},
    )


def baseline_view(period: Period, user_rows: Int[np.ndarray, " sample"]) -> View:
    """Returns the view of all that baselines read: histories of all listeners with times, the task's histories of
    `user_rows`, and counts of contents.

    Args:
        period: evaluated period.
        user_rows: store rows of listeners of the task, ascending.
    """

    def view(store: Store) -> np.ndarray:
        known = Known(store, period)
        task, histories = known.task, known.histories
        places = np.searchsorted(task.user_rows, user_rows)
        listed = task.histories.take(places)
        columns = [histories.offsets, histories.values, listed.offsets, listed.values, task.is_cold_user[places]]
        columns += [task.train_counts, task.is_cold, [] if known.times_us is None else known.times_us]
        return np.concatenate([np.asarray(column, np.int64) for column in columns])

    return view


def histories_end(store: Store, task: EvaluationTask, period: Period) -> Check:
    """Checks by timestamps that no history has an event from the period or from the gap before it.

    The store cuts histories at positions; this check cuts them again by the time of each event, and compares both, and
    the histories of the task, too. If every listener has their own cut (leave one out), only the order of events in
    time is checked.

    Args:
        store: prepared store.
        task: task made from the store.
        period: evaluated period.
    """
    histories = store.histories
    is_later, times = _is_later(store, period), np.asarray(histories.timestamp_us)
    everything = Ragged(np.asarray(histories.offsets), np.asarray(histories.content_row))
    users = everything.list_of_value
    unordered = int(((np.diff(times) < 0) & (np.diff(users) == 0)).sum())
    start_us = store.manifest.get(f"{period}_start_us")
    by_clock = is_later if start_us is None else times >= start_us - store.gap_us
    misplaced = int((is_later != by_clock).sum())
    expected = everything.where(np.asarray(histories.is_positive) & ~by_clock).take(task.user_rows)
    lists = range(len(task.user_rows))
    wrong = sum(not np.array_equal(task.histories[place], expected[place]) for place in lists)
    faults = {
        "events on the wrong side of the cut": misplaced,
        "events before the one they follow": unordered,
        "listeners whose history is not what was positive before the cut": wrong,
    }
    found = [f"{count:,} {what}" for what, count in faults.items() if count]
    held = f"{len(lists):,} listeners, {len(task.histories.values):,} events of their histories, all before the cut"
    return Check(
        name=f"histories end before {period}",
        passed=not found,
        detail="; ".join(found) or held,
        figures={
            "misplaced_events": float(misplaced),
            "unordered_events": float(unordered),
            "wrong_listeners": float(wrong),
        },
    )


def with_other_events(store: Store, is_replaced: np.ndarray, shift_days: int, seed: int) -> Store:
    """Returns the store with some events of its histories replaced by events that differ in every column.

    All replacements are positive, so that every listener with targets still has some.

    Args:
        store: prepared store, which is not changed.
        is_replaced: `[events]`, mask of the events to replace.
        shift_days: shift of their times in days, away from the other events, so that the order remains.
        seed: seed of the draws.
    """
    generator, histories = np.random.default_rng(seed), store.histories
    places = np.flatnonzero(is_replaced)
    size, num_contents = len(places), len(store.content_ids)
    other: dict[str, Any] = {
        # Shifted by at least one row, so that the content differs.
        "content_row": (histories.content_row[places] + generator.integers(1, max(num_contents, 2), size))
        % num_contents,
        "action": (histories.action[places] + generator.integers(1, len(ACTIONS), size)) % len(ACTIONS),
        "timestamp_us": histories.timestamp_us[places] + shift_days * DAY_US,
        "played_fraction": generator.random(size),
        "context": generator.integers(len(store.vocabulary("context")), size=size),
        "is_positive": True,
        "is_discovery": ~histories.is_discovery[places],
        "device": generator.integers(len(store.vocabulary("device")), size=size),
        "session": np.arange(size),
    }
    columns = {}
    for name, values in other.items():
        columns[name] = np.array(getattr(histories, name))
        columns[name][places] = values
    changed = copy.copy(store)
    changed.histories = replace(histories, **columns)
    return changed


def _is_later(store: Store, period: Period) -> np.ndarray:
    """Returns, `[events]`, whether each event lies after the cut of the period, by position."""
    histories = store.histories
    begin = np.asarray(histories.known_until(period))
    offsets = np.asarray(histories.offsets)
    return np.arange(offsets[-1]) >= np.repeat(begin, np.diff(offsets))


def _changed_rows(first: np.ndarray, second: np.ndarray) -> int:
    """Returns the number of rows that are not bitwise equal; all rows if shapes or types differ."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return max(len(first), 1)
    if not len(first):
        return 0
    before, after = (np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1) for array in (first, second))
    return int((before != after).any(axis=1).sum())
