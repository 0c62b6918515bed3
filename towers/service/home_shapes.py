"""Shapes of the answers about home pages, for OpenAPI and the page at `/docs`; see `answer_shapes`."""

from pydantic import BaseModel, Field

from towers.service.answer_shapes import Content, SpaceId, Version, Why


class ShownCard(BaseModel):
    """A card on a home page."""

    slot: int = Field(description="from 0 at the top of the page, on through all shelves; an outcome names it")
    content: Content
    propensity: float = Field(description="chance of this card in this slot given the slots before, above 0 to 1")
    reasons: list[Why]


class ShownShelf(BaseModel):
    """A row of a home page."""

    name: str = Field(description="name of the shelf in the log")
    title: str = Field(description="title for people")
    num_candidates: int = Field(description="cards that it was drawn from")
    items: list[ShownCard]


class HomePage(BaseModel):
    """A listener's home page."""

    version: Version
    space_id: SpaceId
    policy_id: str = Field(description="the policy that chose")
    policy_version: str = Field(description="version of the policy's state")
    user_id: str
    request_id: str | None = Field(description="outcomes name it; null where the page was only looked at")
    shelves: list[ShownShelf] = Field(description="uppermost first")


class KeptOutcome(BaseModel):
    """Answer to an outcome that was kept."""

    request_id: str
    slot: int
