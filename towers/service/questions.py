"""Questions of clients, in a body or in an address: their shapes for OpenAPI, and events as the encoder reads them.

Names are those of the command line and of Python (`docs/serving.md`); a test holds the three together.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from towers.contract import schema
from towers.contract.near_names import not_among
from towers.errors import UserError
from towers.features.text import id_text
from towers.retrieval.asker import check_whom
from towers.retrieval.encoders import Events
from towers.retrieval.original import check_which
from towers.retrieval.query import SKIP_COOLDOWN_DAYS, Query
from towers.retrieval.raw_contents import date_of
from towers.retrieval.raw_events import RawEvents, are_events, times_of, told_history
from towers.service.limits import Limits, OverLimit
from towers.service.snapshot import Snapshot

Action = Literal["play", "skip", "like", "dislike", "save", "unsave", "search", "browse"]
FORMER = {"allow": "among", "candidates": "among"}
"""Former names of fields, and their present names."""
UNKNOWN_FIELD = "unknown_field"
"""Type of pydantic's error for an unknown name; its message holds the name."""


def read_by(read: Callable[[Any], Any], reads: Any) -> BeforeValidator:
    """Returns a validator that reads a value as Python and the command line do, with their message if it is wrong.

    Args:
        read: function that reads the value; raises `UserError`.
        reads: type that OpenAPI shows.
    """

    def validate(value: Any) -> Any:
        try:
            return read(value)
        except UserError as error:
            message = str(error)
            for named_before in ("released_by=", "today=", "history: "):
                message = message.removeprefix(named_before)
            raise PydanticCustomError("value", "{message}", {"message": message}) from None

    return BeforeValidator(validate, json_schema_input_type=reads)


def _several(value: Any) -> Any:
    """Turns a text into a list of one."""
    return [value] if isinstance(value, str) else value


def _as_events(value: Any) -> Any:
    """Turns a list of ids into events: each content was played in full."""
    if not isinstance(value, list) or are_events(value):
        return value
    return [{"content_id": content_id} for content_id in value]


def _sound(value: Any) -> Any:
    """Decodes base64 to the bytes of a sound file; leaves a list of numbers as it is."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise UserError(f"must be the bytes of a file in base64 ({error})") from error


Id = Annotated[str, read_by(id_text, str | int)]
"""A raw id, which may be written as an integer."""
Day = Annotated[date, read_by(partial(date_of, "released_by"), date)]
CooldownDays = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="days after which what was only skipped may come again")
]
ReleasedBy = Annotated[
    Day | None, Field(description="last day of release that may come; null: that of the export's last event")
]
Familiar = Annotated[
    Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None,
    Field(description="share of the list that was heard before, 0 (all new) to 1; null: as include_heard says"),
]
Kinds = Annotated[list[str], BeforeValidator(_several, json_schema_input_type=str | list[str])]
Numbers = list[Annotated[float, Field(allow_inf_nan=False)]]
Value = str | int | float | bool | None


def no_such_field(name: str, known: Iterable[str]) -> str:
    """Returns the message about an unknown field, with the name that was probably meant."""
    return f"{name}: no such field; {not_among(FORMER.get(name, name), known)}"


class Question(BaseModel):
    """Base of all questions: an unknown field is refused, with the name that was probably meant."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _knows_its_fields(cls, given: Any) -> Any:
        strange = next((name for name in given if name not in cls.model_fields), None) if _is_named(given) else None
        if strange is None:
            return given
        raise PydanticCustomError(UNKNOWN_FIELD, "{message}", {"message": no_such_field(strange, cls.model_fields)})


def _is_named(given: Any) -> bool:
    return isinstance(given, dict) and all(isinstance(name, str) for name in given)


class Event(Question):
    """An event, as the raw data contract has it."""

    content_id: Id | None = Field(None, description="null for search and browse")
    timestamp: datetime | None = Field(None, description="ISO 8601, UTC where it names no zone; of all events or none")
    action: Action = "play"
    played_ms: float | None = Field(None, ge=0, allow_inf_nan=False, description="milliseconds")
    context: str | None = None


History = Annotated[list[Event], read_by(_as_events, list[Event] | list[str | int])]


class EmbedQuestion(Question):
    """A new listener: their latest events and features."""

    history: History | None = Field(
        None, description="ids of what was played in full, or events; oldest first where there are no times"
    )
    features: dict[str, Value] = Field({}, description="the listener's columns")

    def check(self, limits: Limits) -> None:
        """Raises `UserError` where it asks too much."""
        check_length("history", self.history, limits, "max_history")

    @property
    def is_new(self) -> bool:
        """Returns whether anything is given of a new listener."""
        return self.history is not None or bool(self.features)


class EmbedContentQuestion(Question):
    """A content that the export does not have."""

    audio: Annotated[bytes | Numbers, read_by(_sound, str | list[float])] | None = Field(
        None, description="its sound: the bytes of a file in base64, or the vector of a model that reads such"
    )
    metadata: dict[str, Value | list[Value]] = Field({}, description="columns of the contract's contents table")

    @property
    def is_new(self) -> bool:
        """Returns whether anything is given of a new content."""
        return self.audio is not None or bool(self.metadata)


class Filter(Question):
    """Constraints on an answer that hold for every question."""

    k: int = Field(20, ge=1, description="greatest number of results")
    explicit: bool = Field(True, description="whether explicit contents may be shown")
    released_by: ReleasedBy = None

    def check_count(self, limits: Limits) -> None:
        """Raises `OverLimit` if `k` is above `max_k`."""
        if self.k > limits.max_k:
            raise OverLimit("max_k", f"k: {self.k}, must be at most {limits.max_k}")


class ListenerFilter(Filter):
    """Constraints on what is recommended to a listener of the export."""

    user: Id | None = Field(None, description="id of a listener of the export")
    kind: Kinds = Field(list(schema.PLAYABLE_KINDS), max_length=len(schema.KINDS), description="one or several")
    among: list[Id] | None = Field(None, description="ids to choose from; all where null")
    deny: list[Id] = Field([], description="ids that must not be shown")
    include_heard: bool = Field(False, description="whether what was heard before may come again")
    familiar: Familiar = None
    skip_cooldown_days: CooldownDays = SKIP_COOLDOWN_DAYS


class RecommendQuestion(ListenerFilter, EmbedQuestion):
    """A listener of the export (`user`), a new one (`history`, `features`), or a `vector`."""

    vector: Numbers | None = Field(None, description="given instead of a listener; in the export's space, any length")

    def check(self, limits: Limits) -> None:
        """Raises `UserError` if it asks for too much, or for no listener or several."""
        super().check(limits)
        self.check_count(limits)
        check_length("among", self.among, limits, "max_ids")
        check_length("deny", self.deny, limits, "max_ids")
        check_whom(self.user, is_new=self.is_new, vector=self.vector)

    def query(self, snapshot: Snapshot) -> Query:
        """Returns the constraints, in rows of the served version; an unknown id in a list becomes row -1."""
        return Query(
            k=self.k,
            kind=tuple(self.kind),
            among=None if self.among is None else snapshot.content_rows(self.among),
            deny=snapshot.content_rows(self.deny),
            explicit=self.explicit,
            include_heard=self.include_heard,
            familiar=self.familiar,
            released_by=self.released_by,
            skip_cooldown_days=self.skip_cooldown_days,
        )


class ContentFilter(Filter):
    """Constraints on neighbours of a content of the export."""

    k: int = Field(10, ge=1, description="greatest number of results")
    content: Id | None = Field(None, description="id of a content of the export")
    kind: Kinds | None = Field(None, description="one or several; null: the content's own")


class SimilarQuestion(ContentFilter, EmbedContentQuestion):
    """A content of the export (`content`), or one that is new (`audio`, `metadata`)."""

    def check(self, limits: Limits) -> None:
        """Raises `UserError` if `k` is above its limit, or if it names no content or two at once."""
        self.check_count(limits)
        check_which(self.content, is_new=self.is_new)

    def query(self, own: tuple[str, ...]) -> Query:
        """Returns the constraints; the kinds are `own` if the question names none."""
        kind = own if self.kind is None else tuple(self.kind)
        return Query(k=self.k, kind=kind, explicit=self.explicit, released_by=self.released_by)


def check_length(field: str, values: Sequence[Any] | None, limits: Limits, limit: str) -> None:
    """Raises `OverLimit` if a list is longer than the limit of this name; null passes."""
    most = getattr(limits, limit)
    if values is not None and len(values) > most:
        raise OverLimit(limit, f"{field}: {len(values):,} entries, must be at most {most:,}")


def told(snapshot: Snapshot, history: Sequence[Event]) -> tuple[Events, int | None]:
    """Returns a history as the encoder reads it, and the time of its last event; see `told_history`.

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
