"""Shapes of the answers about lists, for OpenAPI and the page at `/docs`; see `answer_shapes`."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from towers.policies.kinds import KINDS
from towers.policies.reasons import WORDS
from towers.service.answer_shapes import Content, Kind, SpaceId, Unknown, Version

Name = Annotated[str, Field(description="of the kind of list", json_schema_extra={"enum": list(KINDS)})]


class HowMany(BaseModel):
    """Least and greatest number that a kind of list takes."""

    least: int
    most: int | None = Field(description="null: any number")


class ListKind(BaseModel):
    """A kind of list."""

    name: Name
    title: str = Field(description="as people read it")
    does: str = Field(description="what such a list is")
    users: HowMany = Field(description="listeners; a new one counts as one")
    contents: HowMany = Field(description="what it goes on from")
    of: list[Kind] = Field(description="kinds of these contents")
    minus: bool = Field(description="whether contents may be subtracted")
    to: bool = Field(description="whether a region may be named that it leads to")
    from_home: bool = Field(description="whether a listener's taste, and where it leads, take the place of contents")
    partners: bool = Field(description="whether artists, playlists and curators may take the place of listeners")
    pool: bool = Field(description="whether it needs an editor's pool")
    familiar: bool = Field(description="whether the share of what is familiar may be asked for")


class ListKinds(BaseModel):
    """The kinds of lists."""

    version: Version
    items: list[ListKind]
    regions: list[str] = Field(description="names of the regions that a journey may lead to; empty of old exports")


class WhyListed(BaseModel):
    """Why a content stands in a list."""

    reason: str = Field(json_schema_extra={"enum": list(WORDS)})
    text: str = Field(description="the same for people")
    because: str | None = Field(description="id of the content or artist that it refers to; null where there is none")


class MemberShare(BaseModel):
    """A place of a blend as one of its members sees it."""

    member: str = Field(description="id, or new")
    share: float = Field(description="of the place, 0 to 1; those of all members sum to 1")
    reasons: list[WhyListed] = Field(description="empty where it is not for them")


class ListedContent(BaseModel):
    """A content in a list."""

    content: Content
    score: float = Field(description="how well it fits; comparable within one list")
    heard: bool | None = Field(description="whether the listener has heard it before; null where it is not for one")
    reasons: list[WhyListed]
    shares: list[MemberShare] = Field(description="by member of a blend; empty of other lists")


class ListFacts(BaseModel):
    """Figures of a list."""

    members: list[str] = Field(description="of a blend, in their order; empty of other lists")
    match: float | None = Field(description="how alike the members' tastes are, in per cent; null where not known")
    new: int | None = Field(description="of a proposed pool, how many contents are new; null of other lists")
    region: str | None = Field(description="that a journey leads to; null where it leads to a content, and of others")


class MadePlaylist(BaseModel):
    """A list."""

    version: Version
    space_id: SpaceId
    playlist: Name
    title: str = Field(description="of the kind, as people read it")
    unknown: Unknown
    remark: str = Field(description="why the list is shorter, or what else should be known; empty else")
    facts: ListFacts
    items: list[ListedContent] = Field(description="in the order in which they are played")


class EditorsPlaylist(BaseModel):
    """A playlist of an editor."""

    pool_id: str
    title: str
    num_contents: int


class EditorsPlaylists(BaseModel):
    """The editors' playlists."""

    version: Version
    items: list[EditorsPlaylist]


class EditorsPool(BaseModel):
    """A playlist of an editor as a pool."""

    version: Version
    pool_id: str
    pool: dict[str, Any] = Field(description="as /playlists/algotorial takes it")
    contents: list[Content] = Field(description="in the editor's order")
