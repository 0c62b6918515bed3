"""Conversion of events in the form of the raw data contract to encoder input: the counterpart of `prepare` in serving.

`RawEvents` holds checked events. `RawEvents.of` checks mappings; a caller that has checked its events already, such as
the HTTP service, fills the columns itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract import schema
from towers.contract.events import is_positive, microseconds_of
from towers.contract.near_names import not_among
from towers.contract.tables import near_column
from towers.errors import UserError
from towers.features.text import category_text
from towers.features.vocabulary import UNKNOWN
from towers.retrieval.encoded import Encoded
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export

COLUMNS = ("content_id", "timestamp", "action", "played_ms", "context")
"""Columns of the contract's events table that are read from a history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvents:
    """One listener's events in columns of equal length.

    Args:
        content_id: content ids; null without content.
        timestamp_us: microseconds since 1970, in any order; null if no times are known and the events are in order.
        action: indices into `schema.ACTIONS`.
        played_ms: played times in milliseconds, 0 or more; null or NaN where unknown.
        context: contexts; null where unknown.
    """

    content_id: Sequence[str | None]
    timestamp_us: Sequence[int] | None
    action: Sequence[int]
    played_ms: Sequence[float | None]
    context: Sequence[str | None]

    @staticmethod
    def of(rows: Sequence[Mapping[str, Any]]) -> "RawEvents":
        """Checks mappings as for `events_from_raw`, except that either all events have a time or none has.

        Raises:
            UserError: some events have a time and some have none, a column's name is nearly that of a missing one, or
                a value is refused as by `events_from_raw`.
        """
        _check_names(rows)
        return _checked(rows, times_of([row.get("timestamp") for row in rows]))


def times_of(timestamps: Sequence[Any]) -> list[int] | None:
    """Returns the times of a history in microseconds since 1970; null if no event has one.

    Raises:
        UserError: some events have a time and some have none, or a value is no time.
    """
    is_timed = [timestamp is not None for timestamp in timestamps]
    if not any(is_timed):
        return None
    if not all(is_timed):
        raise UserError(f"history.{is_timed.index(False)}.timestamp: missing; give one to each event, or to none")
    return [_microseconds(timestamp) for timestamp in timestamps]


def events_from_raw(export: Export, rows: Sequence[Mapping[str, Any]]) -> Events:
    """Converts one listener's events, given in any order with the columns of the contract's events table.

    An event whose content the export does not know counts as an event without content.

    Args:
        export: export with rows, durations and vocabularies.
        rows: mappings with `content_id`, `timestamp` (aware, or naive in UTC, or ISO 8601 text), and where known
            `action`, `played_ms` and `context`.

    Raises:
        UserError: an action is unknown, an event has no timestamp, or a `played_ms` is negative.
    """
    return _events(export, _checked(rows, [_microseconds(row.get("timestamp")) for row in rows]))


def told_history(export: Export, told: RawEvents) -> tuple[Events, int | None]:
    """Converts a given history, and returns its events and the time of the last one, in microseconds since 1970.

    Without timestamps, the events are taken as consecutive and the time is null. If there are no played times either,
    plays are taken as complete, as in a list of ids.

    Args:
        export: export with rows, durations and vocabularies.
        told: given events.
    """
    events = _events(export, told)
    if told.timestamp_us is not None:
        return events, int(events.timestamp_us[-1])
    if any(played_ms is not None for played_ms in told.played_ms):
        return events, None
    in_full = np.where(events.action == schema.PLAY, 1.0, events.played_fraction)
    return replace(events, played_fraction=in_full.astype(np.float32)), None


def are_events(history: Sequence[Any]) -> bool:
    """Returns whether a history consists of events (mappings) rather than ids of contents that were played in full.

    Raises:
        UserError: the history mixes both.
    """
    num_events = sum(isinstance(one, Mapping) for one in history)
    if 0 < num_events < len(history):
        raise UserError("history: give ids alone, or events alone")
    return num_events > 0


def _check_names(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises `UserError` if a column's name is nearly that of a missing one; ignores other unknown columns."""
    for names in dict.fromkeys(frozenset(row) for row in rows):
        for name in (name for name in COLUMNS if name not in names):
            if (near := near_column(schema.EVENTS, name, sorted(map(str, names)))) is not None:
                raise UserError(f"history.{near}: no such column of events/; did you mean {name}?")


def _checked(rows: Sequence[Mapping[str, Any]], timestamp_us: Sequence[int] | None) -> RawEvents:
    return RawEvents(
        content_id=[category_text(row.get("content_id")) for row in rows],
        timestamp_us=timestamp_us,
        played_ms=[_milliseconds(row.get("played_ms")) for row in rows],
        action=[_action_code(row.get("action") or "play") for row in rows],
        context=[category_text(row.get("context")) for row in rows],
    )


def _events(export: Export, raw: RawEvents) -> Events:
    """Converts events to time order; one whose content the export does not know becomes one without content."""
    known = export.content_ids
    content_rows = np.array([-1 if c is None else known.get(c, -1) for c in raw.content_id], np.int64)
    if raw.timestamp_us is None:
        timestamp_us, order = export.end_to_end_us(content_rows), np.arange(len(content_rows))
    else:
        timestamp_us = np.array(raw.timestamp_us, np.int64)
        order = np.argsort(timestamp_us, kind="stable")
    content_rows, action = content_rows[order], np.array(raw.action, np.int64)[order]
    played_fraction = _played_fraction(export, content_rows, np.array(raw.played_ms, np.float64)[order])
    return Events(
        content_row=content_rows,
        action=action,
        timestamp_us=timestamp_us[order],
        played_fraction=played_fraction.astype(np.float32),
        context=export.vocabulary("context").encode(raw.context)[order],
        is_positive=is_positive(
            content_row=content_rows,
            action=action,
            played_fraction=played_fraction,
            min_played_fraction=export.features.min_played_fraction,
        ),
    )


def user_codes_from_raw(export: Export, user: Mapping[str, Any]) -> Int[np.ndarray, " columns"]:
    """Returns the codes of a listener's columns, in the order of the export's features; 0 if missing or unknown."""
    names = export.features.user_columns
    return np.array([export.vocabulary(name).encode([category_text(user.get(name))])[0] for name in names], np.int64)


def encode_listener(export: Export, events: Events, features: Mapping[str, Any]) -> Encoded:
    """Encodes a new listener after `events`.

    Args:
        export: export with the tower and vocabularies.
        events: events in time order; may be empty.
        features: known columns of the listener, from those with which the export was made.

    Raises:
        UserError: the export does not know a column; or it knows no value of the features and there are no events.
    """
    if not features:
        return Encoded(vector=export.encode_events(events))
    columns = export.features.user_columns
    strange = next((name for name in features if name not in columns), None)
    if strange is not None:
        raise UserError(f"features.{strange}: no such column of listeners; {not_among(strange, columns)}")
    codes = user_codes_from_raw(export, features)
    code_of = dict(zip(columns, codes.tolist(), strict=True))
    given = {name: value for name, value in features.items() if category_text(value) is not None}
    unknown = tuple(f"features.{name}={value}" for name, value in given.items() if code_of[name] == UNKNOWN)
    if unknown and len(unknown) == len(given) and not len(events):
        raise UserError(f"{', '.join(unknown)}: this export knows nothing of it; give a history, or what it knows")
    return Encoded(vector=export.encode_events(events, codes), unknown=unknown)


def encode_user(
    export: Export, history: Sequence[Mapping[str, Any]], user: Mapping[str, Any] | None = None
) -> Float[np.ndarray, " dim"]:
    """Returns the unit vector of a listener after their latest events, by the export's user tower.

    Args:
        export: export with the tower, rows, durations and vocabularies.
        history: events as in `events_from_raw`; may be empty.
        user: columns of the listener; null: unknown.

    Raises:
        UserError: an action is unknown, an event has no timestamp, or a `played_ms` is negative.
    """
    return export.encode_events(events_from_raw(export, history), user_codes_from_raw(export, user or {}))


def _played_fraction(
    export: Export, content_rows: Int[np.ndarray, " events"], played_ms: Float[np.ndarray, " events"]
) -> Float[np.ndarray, " events"]:
    durations = export.durations_ms[np.maximum(content_rows, 0)]
    is_known = np.isfinite(played_ms) & (content_rows >= 0) & (durations > 0)
    fraction = np.minimum(played_ms / np.where(is_known, durations, 1), 1)
    return np.where(is_known, fraction, schema.UNKNOWN_PLAYED_FRACTION)


def _milliseconds(value: Any) -> float | None:
    """Returns a played time in milliseconds; null if it is unknown."""
    if value is None:
        return None
    try:
        played = float(value)
    except (TypeError, ValueError):
        played = -1
    if played < 0:
        raise UserError(f"played_ms={value}: must be a number of milliseconds, 0 or more")
    return played


def _action_code(action: str) -> int:
    if action not in schema.ACTION_CODES:
        raise UserError(f"action {action!r}: there are {', '.join(schema.ACTIONS)}")
    return schema.ACTION_CODES[action]


def _microseconds(timestamp: Any) -> int:
    if isinstance(timestamp, str):
        try:
            timestamp = datetime.fromisoformat(timestamp)
        except ValueError as error:
            raise UserError(f"timestamp={timestamp}: must be a time such as 2026-07-29T20:15:00Z") from error
    if not isinstance(timestamp, datetime):
        raise UserError(f"timestamp={timestamp}: every event must have a time, such as 2026-07-29T20:15:00Z")
    return microseconds_of(timestamp)
