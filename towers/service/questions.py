"""What clients ask in a body: its shape for OpenAPI, and its events as the encoder reads them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from towers.contract import schema
from towers.errors import UserError
from towers.features.text import id_text
from towers.retrieval.encoders import Events
from towers.retrieval.query import SKIP_COOLDOWN_DAYS, Query
from towers.retrieval.raw_contents import date_of
from towers.retrieval.raw_events import RawEvents, times_of, told_history, user_codes_from_raw
from towers.service.limits import Limits
from towers.service.snapshot import Snapshot

Action = Literal["play", "skip", "like", "dislike", "save", "unsave", "search", "browse"]


def _read_by(read: Callable[[Any], Any], reads: Any) -> BeforeValidator:
    """A value as Python and the command line read it, with their message where they refuse it.

    Args:
        read: raises `UserError`.
        reads: the type that OpenAPI shows.
    """

    def validate(value: Any) -> Any:
        try:
            return read(value)
        except UserError as error:
            message = str(error).removeprefix("released_by=")  # the field is named before it
            raise PydanticCustomError("value", "{message}", {"message": message}) from None

    return BeforeValidator(validate, json_schema_input_type=reads)


Id = Annotated[str, _read_by(id_text, str | int)]
"""A raw id, which may be written as an integer."""
Day = Annotated[date, _read_by(partial(date_of, "released_by"), date)]
CooldownDays = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="days after which what was only skipped may come again")
]
ReleasedBy = Annotated[
    Day | None, Field(description="last day of release that may come; null: that of the export's last event")
]


class Event(BaseModel):
    """One event of the raw contract."""

    model_config = ConfigDict(extra="forbid")
    content_id: Id | None = Field(None, description="null for search and browse")
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

    user: Id | None = None
    k: int = Field(20, ge=1)
    kinds: list[str] = Field(list(schema.PLAYABLE_KINDS), min_length=1, max_length=len(schema.KINDS))
    allow: list[Id] | None = Field(None, description="ids to choose from; all where null")
    deny: list[Id] = Field([], description="ids that must not be shown")
    include_heard: bool = False
    explicit: bool = Field(True, description="whether explicit contents may be shown")
    released_by: ReleasedBy = None
    skip_cooldown_days: CooldownDays = SKIP_COOLDOWN_DAYS

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

    def query(self, snapshot: Snapshot) -> Query:
        """What may be recommended, in rows of the served version; an id of a list that it does not know is row -1."""
        return Query(
            k=self.k,
            kinds=tuple(self.kinds),
            among=None if self.allow is None else snapshot.content_rows(self.allow),
            deny=snapshot.content_rows(self.deny),
            explicit=self.explicit,
            include_heard=self.include_heard,
            released_by=self.released_by,
            skip_cooldown_days=self.skip_cooldown_days,
        )


class EncodeQuestion(Listener):
    """Somebody whose vector is asked for."""

    def check(self, limits: Limits) -> None:
        """Raises `UserError` where it asks too much."""
        check_length("history", self.history, limits.max_history)


def check_length(field: str, values: Sequence[Any] | None, most: int) -> None:
    """Raises `UserError` for a list that is too long."""
    if values is not None and len(values) > most:
        raise UserError(f"{field}: {len(values):,} entries, must be at most {most:,}")


def told(snapshot: Snapshot, history: Sequence[Event]) -> tuple[Events, int | None]:
    """A history as the encoder reads it, and the time of its last event; as `told_history`.

    Raises:
        UserError: some events have a time and some have none.
    """
    raw = RawEvents(
        content_id=[event.content_id for event in history],
        timestamp_us=times_of([event.timestamp for event in history]),
        action=[schema.ACTION_CODES[event.action] for event in history],
        played_ms=[event.played_ms for event in history],
        context=[event.context for event in history],
    )
    return told_history(snapshot.export, raw)


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
