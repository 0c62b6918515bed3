"""Events as they are in the raw contract to what the encoder reads: the serving side's half of `prepare`.

`RawEvents` holds what was checked. Mappings are checked by `RawEvents.of`; who has checked events already, as the HTTP
service has, fills its columns and goes the same way from there.
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
"""Of the contract's events table, what a history is read for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvents:
    """One listener's events in columns, as many values in each.

    Args:
        content_id: null without content.
        timestamp_us: microseconds since 1970, in any order; null where no times are known, and the events follow one
            another as they stand.
        action: index into `schema.ACTIONS`.
        played_ms: milliseconds, 0 or more; null, or not a number, where it is not known.
        context: null where unknown.
    """

    content_id: Sequence[str | None]
    timestamp_us: Sequence[int] | None
    action: Sequence[int]
    played_ms: Sequence[float | None]
    context: Sequence[str | None]

    @staticmethod
    def of(rows: Sequence[Mapping[str, Any]]) -> "RawEvents":
        """Mappings as `events_from_raw` takes them, but for the times: of all or of none.

        Raises:
            UserError: some events have a time and some have none, a column is called nearly as one that is missing, and
                as `events_from_raw`.
        """
        _check_names(rows)
        return _checked(rows, times_of([row.get("timestamp") for row in rows]))


def times_of(timestamps: Sequence[Any]) -> list[int] | None:
    """The times of a history in microseconds since 1970; null where no event has one.

    Raises:
        UserError: some events have a time and some have none, or one is no time.
    """
    is_timed = [timestamp is not None for timestamp in timestamps]
    if not any(is_timed):
        return None
    if not all(is_timed):
        raise UserError(f"history.{is_timed.index(False)}.timestamp: missing; give one to each event, or to none")
    return [_microseconds(timestamp) for timestamp in timestamps]


def events_from_raw(export: Export, rows: Sequence[Mapping[str, Any]]) -> Events:
    """One listener's events with the columns of the contract's events table, in any order.

    A content that the export does not know counts as an event without content.

    Args:
        export: gives rows, durations and vocabularies.
        rows: mappings with `content_id`, `timestamp` (aware, or naive in UTC; text in ISO 8601 will do), and where
            known `action`, `played_ms`, `context`.

    Raises:
        UserError: an unknown action, an event without a timestamp, a negative `played_ms`.
    """
    return _events(export, _checked(rows, [_microseconds(row.get("timestamp")) for row in rows]))


def told_history(export: Export, told: RawEvents) -> tuple[Events, int | None]:
    """What somebody is said to have done, and when they did the last of it, in microseconds since 1970.

    Where there are no times, the events are taken to follow one another and the time is null; and where nothing is
    said of played times either, plays are taken to be in full, as those of a list of ids are.

    Args:
        export: as `events_from_raw` takes it.
        told: what they say.
    """
    events = _events(export, told)
    if told.timestamp_us is not None:
        return events, int(events.timestamp_us[-1])
    if any(played_ms is not None for played_ms in told.played_ms):
        return events, None
    in_full = np.where(events.action == schema.PLAY, 1.0, events.played_fraction)
    return replace(events, played_fraction=in_full.astype(np.float32)), None


def are_events(history: Sequence[Any]) -> bool:
    """Whether a history is of events, as mappings; else it is of ids, each a content that was played in full.

    Raises:
        UserError: it is of both.
    """
    num_events = sum(isinstance(one, Mapping) for one in history)
    if 0 < num_events < len(history):
        raise UserError("history: give ids alone, or events alone")
    return num_events > 0


def _check_names(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises `UserError` for a column that is called nearly as one that is read and is missing; others are let be."""
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
    """In time order; a content that the export does not know counts as an event without content."""
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
    """Codes of a listener's columns, as named by the export's features; 0 for what is missing or unknown."""
    names = export.features.user_columns
    return np.array([export.vocabulary(name).encode([category_text(user.get(name))])[0] for name in names], np.int64)


def encode_listener(export: Export, events: Events, features: Mapping[str, Any]) -> Encoded:
    """The vector of somebody new after `events`.

    Args:
        export: gives the tower and vocabularies.
        events: in time order; may be none.
        features: columns of the listener, as far as known, of those that the export was made with.

    Raises:
        UserError: a column that the export does not know; features of which no value is known, where there are no
            events.
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
    """The unit vector of a listener after their latest events, by the tower of the export.

    Args:
        export: gives the tower, rows, durations and vocabularies.
        history: as `events_from_raw` takes it; empty for somebody of whom nothing is known.
        user: columns of the listener; null: unknown.

    Raises:
        UserError: an unknown action, an event without a timestamp, a negative `played_ms`.
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
    """How long something was played; null where that is not known."""
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
