"""The routes of the home page: the page of a listener, and what they did with it."""

from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from pydantic import Field

from towers.errors import UserError
from towers.service import home_answers as answers
from towers.service import home_shapes as shapes
from towers.service.answer_shapes import refused_with, responses
from towers.service.home_live import LiveHome
from towers.service.home_log import Outcome, ToldAlready, UnknownRequest
from towers.service.questions import Id, Question
from towers.service.replies import refusal, reply

MOST_MS = 2**53
"""Greatest played time in milliseconds; JSON has greater integers only inexactly."""


class HomeAddress(Question):
    """Request of a home page."""

    user: Id = Field(description="id of a listener of the export")
    look: bool = Field(False, description="only look at it: nothing is logged, and no token is needed")


class OutcomeQuestion(Question):
    """Outcome of one card of a page; a client sends it once, when it is known."""

    request_id: str = Field(max_length=64, description="request_id of the page")
    slot: int | None = Field(None, ge=0, lt=10_000, description="slot of the card; or give content_id")
    content_id: Id | None = Field(None, description="content of the card; or give slot")
    clicked: bool | None = Field(None, description="whether the listener opened it")
    played_ms: int | None = Field(
        None, ge=0, le=MOST_MS, description="milliseconds for which the card, or what it holds, played"
    )
    skipped: bool | None = None
    finished: bool | None = Field(None, description="whether it played to its end")
    saved: bool | None = None

    def outcome(self) -> Outcome:
        """Returns the outcome for the log; raises `UserError` if it says nothing, or does not identify the card."""
        if self.slot is None and self.content_id is None:
            raise UserError("slot: give the slot of the card, or its content_id")
        told = self.model_dump()
        if all(told[name] is None for name in ("clicked", "played_ms", "skipped", "finished", "saved")):
            raise UserError("outcome: says nothing; give clicked, played_ms, skipped, finished or saved")
        return Outcome(**told)


def add_home(app: FastAPI, live: LiveHome) -> None:
    """Adds the routes of the home page to the application."""

    @app.exception_handler(UnknownRequest)
    async def unknown(_: Request, error: UnknownRequest) -> Response:
        return refusal(404, str(error))

    @app.exception_handler(ToldAlready)
    async def again(_: Request, error: ToldAlready) -> Response:
        return refusal(409, str(error))

    @app.get("/home", responses=responses(shapes.HomePage, 401, 404, 422, 429))
    def home(asked: Annotated[HomeAddress, Query()]) -> Response:
        """Returns a listener's home page, drawn by the policy and logged: cards on shelves, each with the chance with
        which it was chosen and the reasons for it."""
        return reply(answers.page(live, asked.user, asked.look))

    @app.post("/outcome", responses=responses(shapes.KeptOutcome) | refused_with(401, 404, 409, 413, 422, 429))
    def outcome(question: OutcomeQuestion) -> Response:
        """Keeps the outcome of a card of a page, once for each card."""
        return reply(answers.outcome(live, question.outcome()))
