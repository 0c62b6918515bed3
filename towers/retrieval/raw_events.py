"""Events as they are in the raw contract to what the encoder reads: the serving side's half of `prepare`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from towers.contract import schema
from towers.contract.events import is_positive, microseconds_of
from towers.errors import UserError
from towers.features.text import category_text
from towers.retrieval.encoders import Events
from towers.retrieval.export import Export

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    ordered = sorted(rows, key=_microseconds)
    content_ids = [category_text(row.get("content_id")) for row in ordered]
    content_rows = np.array([-1 if c is None else export.content_ids.get(c, -1) for c in content_ids], np.int64)
    played_fraction = _played_fraction(export, content_rows, [row.get("played_ms") for row in ordered])
    action = np.array([_action_code(row.get("action") or "play") for row in ordered], np.int64)
    return Events(
        content_row=content_rows,
        action=action,
        timestamp_us=np.array([_microseconds(row) for row in ordered], np.int64),
        played_fraction=played_fraction.astype(np.float32),
        context=export.vocabulary("context").encode([category_text(row.get("context")) for row in ordered]),
        is_positive=is_positive(
            content_row=content_rows,
            action=action,
            played_fraction=played_fraction,
            min_played_fraction=export.features.min_played_fraction,
        ),
    )


def told_history(export: Export, rows: Sequence[Mapping[str, Any]]) -> tuple[Events, int | None]:
    """What somebody is said to have done, and when they did the last of it, in microseconds since 1970.

    Where there are no times, the events are taken to follow one another and the time is null; and where nothing is
    said of played times either, plays are taken to be in full, as those of a list of ids are.

    Args:
        export: as `events_from_raw` takes it.
        rows: likewise, but for the times: of all events or of none.

    Raises:
        UserError: some events have a time and some have none, and as `events_from_raw`.
    """
    is_timed = [row.get("timestamp") is not None for row in rows]
    if all(is_timed) and rows:
        events = events_from_raw(export, rows)
        return events, int(events.timestamp_us[-1])
    if any(is_timed):
        raise UserError(f"history.{is_timed.index(False)}.timestamp: missing; give one to each event, or to none")
    events = events_from_raw(export, _one_after_the_other(export, rows))
    if any(row.get("played_ms") is not None for row in rows):
        return events, None
    in_full = np.where(events.action == schema.PLAY, 1.0, events.played_fraction)
    return replace(events, played_fraction=in_full.astype(np.float32)), None


def _one_after_the_other(export: Export, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    ids = [category_text(row.get("content_id")) for row in rows]
    contents = np.array([-1 if content_id is None else export.content_ids.get(content_id, -1) for content_id in ids])
    ends = export.end_to_end_us(contents.astype(np.int64)).tolist()
    return [{**row, "timestamp": EPOCH + timedelta(microseconds=end)} for row, end in zip(rows, ends, strict=True)]


def user_codes_from_raw(export: Export, user: Mapping[str, Any]) -> Int[np.ndarray, " columns"]:
    """Codes of a listener's columns, as named by the export's features; 0 for what is missing or unknown."""
    names = export.features.user_columns
    return np.array([export.vocabulary(name).encode([category_text(user.get(name))])[0] for name in names], np.int64)


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


def _played_fraction(export: Export, content_rows: np.ndarray, played_ms: Sequence[Any]) -> np.ndarray:
    durations = export.durations_ms[np.maximum(content_rows, 0)]
    played = np.array([_milliseconds(ms) for ms in played_ms], np.float64)
    is_known = np.isfinite(played) & (content_rows >= 0) & (durations > 0)
    fraction = np.minimum(played / np.where(is_known, durations, 1), 1)
    return np.where(is_known, fraction, schema.UNKNOWN_PLAYED_FRACTION)


def _milliseconds(value: Any) -> float:
    """How long something was played; not a number where that is not known."""
    try:
        played = math.nan if value is None else float(value)
    except (TypeError, ValueError):
        played = -1
    if played < 0:
        raise UserError(f"played_ms={value}: must be a number of milliseconds, 0 or more")
    return played


def _action_code(action: str) -> int:
    if action not in schema.ACTION_CODES:
        raise UserError(f"action {action!r}: there are {', '.join(schema.ACTIONS)}")
    return schema.ACTION_CODES[action]


def _microseconds(row: Mapping[str, Any]) -> int:
    timestamp = row.get("timestamp")
    if isinstance(timestamp, str):
        try:
            timestamp = datetime.fromisoformat(timestamp)
        except ValueError as error:
            raise UserError(f"timestamp={timestamp}: must be a time such as 2026-07-29T20:15:00Z") from error
    if not isinstance(timestamp, datetime):
        raise UserError(f"timestamp={timestamp}: every event must have a time, such as 2026-07-29T20:15:00Z")
    return microseconds_of(timestamp)
