"""What clients ask in a body: its shape for OpenAPI, and its events as the encoder reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from towers import schema
from towers.errors import UserError
from towers.retrieval.encoders import Events
from towers.retrieval.export import DEFAULT_TRACK_US
from towers.retrieval.raw_events import events_from_raw, user_codes_from_raw
from towers.service.limits import Limits
from towers.service.snapshot import Snapshot

Action = Literal["play", "skip", "like", "dislike", "save", "unsave", "search", "browse"]
DISLIKED = (schema.SKIP, schema.DISLIKE)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(BaseModel):
    """One event of the raw contract."""

    model_config = ConfigDict(extra="forbid")
    content_id: str | None = Field(None, description="null for search and browse")
    timestamp: datetime | None = Field(None, description="ISO 8601, UTC where it names no zone; of all events or none")
    action: Action = "play"
    played_ms: float | None = Field(None, ge=0, allow_inf_nan=False, description="milliseconds")
    context: str | None = None


class Listener(BaseModel):
    """Somebody new: what they did lately, and what is known of them."""

    model_config = ConfigDict(extra="forbid")
    history: list[Event] | None = Field(None, description="oldest first where there are no times")
    features: dict[str, str | int | float | bool | None] = Field({}, description="the listener's columns")


class RecommendQuestion(Listener):
    """Either a listener of the export (`user`) or somebody new (`history`, `features`)."""

    user: str | None = None
    k: int = Field(20, ge=1)
    kinds: list[str] = Field(list(schema.PLAYABLE_KINDS), min_length=1, max_length=len(schema.KINDS))
    allow: list[str] | None = Field(None, description="ids to choose from; all where null")
    deny: list[str] = Field([], description="ids that must not be shown")
    include_heard: bool = False
    explicit: bool = Field(True, description="whether explicit contents may be shown")

    def check(self, limits: Limits) -> None:
        """Raises `UserError` where it asks too much, or for nobody or two at once."""
        check_length("history", self.history, limits.max_history)
        check_length("allow", self.allow, limits.max_ids)
        check_length("deny", self.deny, limits.max_ids)
        if self.k > limits.max_k:
            raise UserError(f"k: {self.k}, must be at most {limits.max_k}")
        is_new = self.history is not None or bool(self.features)
        if (self.user is None) != is_new:
            raise UserError("user: give either user, or history and features of somebody new")


class EncodeQuestion(Listener):
    """Somebody whose vector is asked for."""

    def check(self, limits: Limits) -> None:
        """Raises `UserError` where it asks too much."""
        check_length("history", self.history, limits.max_history)


def check_length(field: str, values: Sequence[Any] | None, most: int) -> None:
    """Raises `UserError` for a list that is too long."""
    if values is not None and len(values) > most:
        raise UserError(f"{field}: {len(values):,} entries, must be at most {most:,}")


def events_of(snapshot: Snapshot, history: Sequence[Event]) -> Events:
    """A history as the encoder reads it; a content that the version does not know is an event without one.

    Where there are no times, the events are taken to follow one another; and where nothing is said of played times
    either, plays are taken to be in full, as `towers recommend history=[...]` does.

    Raises:
        UserError: some events have a time and some have none.
    """
    rows: list[Mapping[str, Any]] = [event.model_dump() for event in history]
    timed = [row["timestamp"] is not None for row in rows]
    if not any(timed):
        rows = _one_after_the_other(snapshot, rows)
    elif not all(timed):
        raise UserError(f"history.{timed.index(False)}.timestamp: missing; give one to each event, or to none")
    events = events_from_raw(snapshot.export, rows)
    if any(timed) or any(row["played_ms"] is not None for row in rows):
        return events
    fraction = np.where(events.action == schema.PLAY, 1.0, events.played_fraction)
    return replace(events, played_fraction=fraction.astype(np.float32))


def codes_of(snapshot: Snapshot, features: Mapping[str, Any]) -> np.ndarray:
    """A new listener's features as codes.

    Raises:
        UserError: a column that the export does not know.
    """
    known = snapshot.export.features.user_columns
    unknown = [name for name in features if name not in known]
    if unknown:
        raise UserError(f"features.{unknown[0]}: no such column; there are {', '.join(known) or 'none'}")
    return user_codes_from_raw(snapshot.export, features)


def vector_of(snapshot: Snapshot, events: Events, features: Mapping[str, Any]) -> np.ndarray:
    """`[dim]`: of somebody new."""
    return snapshot.export.encode_events(events, codes_of(snapshot, features))


def liked_rows(events: Events) -> np.ndarray:
    """`[liked]`: contents of a history that were neither skipped nor disliked, in order."""
    return events.content_row[(events.content_row >= 0) & ~np.isin(events.action, DISLIKED)]


def _one_after_the_other(snapshot: Snapshot, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    contents = snapshot.content_rows([row["content_id"] or "" for row in rows])
    durations = snapshot.export.durations_ms[np.maximum(contents, 0)] if len(rows) else np.zeros(0)
    lengths_us = np.where((contents >= 0) & (durations > 0), 1_000 * durations, DEFAULT_TRACK_US).astype(np.int64)
    ends = np.cumsum(lengths_us).tolist()
    return [
        {**row, "timestamp": EPOCH + timedelta(microseconds=end)} for row, end in zip(rows, ends, strict=True)
    ]  # fmt: skip
