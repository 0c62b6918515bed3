"""Shapes of the answers, for OpenAPI and the page at `/docs`.

No answer is made by these models: `answers` puts JSON together as text, which is several times as fast. Tests hold what
is answered against them.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from towers.service.questions import Action

Kind = Literal["track", "episode", "audiobook", "artist", "playlist"]
Version = Annotated[str, Field(description="version of the export that answered")]
SpaceId = Annotated[str, Field(description="vectors and scores of one space may be compared")]

Unknown = Annotated[int, Field(description="ids of the question's lists and history that this version does not know")]
UnknownValues = Annotated[
    list[str], Field(description="what this version does not know and left out, such as metadata.genres=polka")
]
UnitVector = Annotated[list[float], Field(description="vector of length 1")]


class Health(BaseModel):
    """The answer of `/health`: the server answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Says that questions are answered."""

    status: Literal["ready"]
    version: Version


class ServedVersion(BaseModel):
    """The version of the export that is served."""

    version: Version
    space_id: SpaceId
    format: int = Field(description="format of the export's files")
    dim: int = Field(description="dimension of the vectors")
    counts: dict[str, int] = Field(description="contents, listeners and the like, by name")
    window: dict[str, datetime] = Field(description="start and end of the data; empty without a clock")
    data_fingerprint: str | None = Field(description="fingerprint of the prepared data; null in old exports")
    towers: str = Field(description="version of Towers that serves")


class Artist(BaseModel):
    """An artist of a content."""

    id: str
    name: str = Field(description="the id where no name is known")


class Content(BaseModel):
    """A content."""

    content_id: str
    kind: Kind
    title: str = Field(description="the id where no title is known")
    artists: list[Artist]
    album_id: str | None
    genres: list[str]
    language: str | None
    release_date: date | None
    duration_ms: int | None = Field(description="milliseconds")
    explicit: bool | None
    is_cold: bool = Field(description="true if no listener chose it in training")
    audio: str | None = Field(description="path of its sound; null where none is served")


class Why(BaseModel):
    """Why a content is shown."""

    reason: Literal[
        "heard_before", "shared_artist", "shared_album", "shared_genre", "close_by_sound", "near_heard"
    ]  # fmt: skip
    text: str = Field(description="the same for people")


class ScoredContent(BaseModel):
    """A content that was found by its vector."""

    content: Content
    score: float = Field(description="inner product of unit vectors, from -1 to 1")
    chance: float | None = Field(description="chance of a listen, 0 to 1; null if the list is not ranked by it")
    reasons: list[Why]


class Recommendations(BaseModel):
    """Contents recommended to a listener."""

    version: Version
    space_id: SpaceId
    unknown: Unknown
    unknown_values: UnknownValues
    items: list[ScoredContent] = Field(description="best first")


class SimilarContents(BaseModel):
    """Contents near a content."""

    version: Version
    space_id: SpaceId
    content: Content | None = Field(description="the content asked about; null if this version lacks it")
    unknown_values: UnknownValues
    items: list[ScoredContent] = Field(description="nearest first")


class ListenerVector(BaseModel):
    """The vector of a new listener."""

    version: Version
    space_id: SpaceId
    unknown: Unknown
    unknown_values: UnknownValues
    vector: UnitVector


class ContentVector(BaseModel):
    """The vector of a content that is new."""

    version: Version
    space_id: SpaceId
    unknown_values: UnknownValues
    vector: UnitVector


class FoundContents(BaseModel):
    """Contents by title, artist or id."""

    version: Version
    items: list[Content] = Field(description="best first")


class FoundListener(BaseModel):
    """A listener of the export."""

    user_id: str
    num_events: int


class FoundListeners(BaseModel):
    """Listeners by a part of their id."""

    version: Version
    items: list[FoundListener]


class PastEvent(BaseModel):
    """An event that names a content."""

    content: Content
    timestamp: datetime | None = Field(description="null for data without a clock")
    action: Action


class ListenerHistory(BaseModel):
    """The latest events of a listener."""

    version: Version
    user_id: str
    num_events: int = Field(description="all of them, with and without a content")
    as_of: datetime | None = Field(description="time of the last event; null without events or a clock")
    history: list[PastEvent] = Field(description="newest first")


class DrawnMap(BaseModel):
    """Contents in two dimensions, in columns of as many values each."""

    version: Version
    method: Literal["content_map", "principal_components"] = Field(
        description="the export's own map, or made of the vectors where it has none"
    )
    content_id: list[str]
    title: list[str]
    kind: list[Kind]
    genre: list[str | None] = Field(description="the first of several")
    is_cold: list[bool]
    x: list[float] = Field(description="from -1 to 1")
    y: list[float] = Field(description="from -1 to 1")


class Refusal(BaseModel):
    """The error of a request."""

    error: str = Field(description="one line")


REFUSALS = {
    401: "A write without the server's token.",
    404: "An id that this version does not know.",
    409: "What was told before.",
    413: "A body that is too long.",
    422: "A value that cannot be, by its name.",
    429: "More writes a second than the server takes.",
}
"""Descriptions in OpenAPI, by status."""


def responses(answer: type[BaseModel], *refusals: int) -> dict[int | str, dict[str, Any]]:
    """An endpoint's `responses` for FastAPI: what it answers, and with which statuses it refuses."""
    return {200: {"model": answer}, **refused_with(*refusals)}


def refused_with(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals alone."""
    return {status: {"model": Refusal, "description": REFUSALS[status]} for status in statuses}
