"""The HTTP side of `towers serve`: routes, their limits, and errors of one line."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import Field
from starlette.exceptions import HTTPException

from towers.errors import UserError
from towers.service import answer_shapes as shapes
from towers.service import answers
from towers.service.answer_shapes import refused_with, responses
from towers.service.cards import written
from towers.service.edge import Edge
from towers.service.home_live import HomeSettings, LiveHome
from towers.service.home_routes import add_home
from towers.service.limits import LIMIT, Limits, OverLimit
from towers.service.live import Live
from towers.service.metrics import Measured, Metrics
from towers.service.playlist_routes import add_playlists
from towers.service.questions import (
    UNKNOWN_FIELD,
    ContentFilter,
    EmbedContentQuestion,
    EmbedQuestion,
    ListenerFilter,
    RecommendQuestion,
    SimilarQuestion,
    no_such_field,
)
from towers.service.reference import reference_page
from towers.service.replies import refusal, reply
from towers.service.roster import Roster, Served
from towers.service.snapshot import NotFound
from towers.service.write_guard import WriteGuard

PAGE = Path(__file__).parent / "page"
BOUNDED = {"k": "max_k", "q": "max_text", "limit": "max_map"}
"""Query parameters that a limit bounds, with the limit's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Settings of how a server is watched.

    Args:
        metrics: whether it has `/metrics`.
        roster: roster of its processes.
        ends: function that is called when this process begins to end, before the log of the home page is written.
    """

    metrics: bool = True
    roster: Roster = field(default_factory=Roster)
    ends: Callable[[], object] = lambda: None


def create_app(
    open_live: Callable[[], Live],
    limits: Limits,
    threads: int,
    home: HomeSettings | None = None,
    watched: Watched | None = None,
) -> FastAPI:
    """Creates the application.

    Args:
        open_live: function that opens the served version.
        limits: limits above which a request is refused.
        threads: requests that are worked on at once.
        home: settings of the home page; null: there is none.
        watched: how the server is watched; null: by `/metrics` of this process.

    Raises:
        UserError: the export or the home page cannot be served.
    """
    live = open_live()
    watched = watched or Watched()
    roster = watched.roster
    served = Served.of(live.snapshot)
    live.on_swap.append(lambda snapshot: roster.tell(Served.of(snapshot)))
    live_home = None if home is None else LiveHome(home, live)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        roster.tell(served)  # now that all is open
        live.start()
        if live_home is not None:
            live_home.start()
        beating = asyncio.create_task(roster.beating())
        yield
        beating.cancel()
        roster.gone(os.getpid())
        watched.ends()
        if live_home is not None:
            live_home.stop()
        live.stop()

    named: dict[tuple[str, str], list[str]] = {}

    async def takes_it(request: Request) -> None:
        """Refuses a parameter of the address that its endpoint does not have."""
        known = named.get((request.method, request.scope["route"].path_format))
        strange = next((name for name in request.query_params if known is not None and name not in known), None)
        if strange is not None:
            raise UserError(no_such_field(strange, known or []))

    app = FastAPI(
        title="Towers", lifespan=lifespan, docs_url=None, redoc_url=None, dependencies=[Depends(takes_it)]
    )  # fmt: skip
    guard = None if home is None else WriteGuard(home.token, home.max_writes_per_s, home.max_outcome_bytes)
    app.add_middleware(Edge, max_body_bytes=limits.max_body_bytes, guard=guard)
    if watched.metrics:
        _add_metrics(app, live, roster)
    _add_errors(app)
    _add_facts(app, live, limits)
    _add_questions(app, live, limits)
    add_playlists(app, live, limits)
    if live_home is not None:
        add_home(app, live_home)
    _add_files(app, live)
    named.update(_parameters_of(app.openapi()))
    return app


def _add_metrics(app: FastAPI, live: Live, roster: Roster) -> None:
    """Adds the middleware that counts every request, and `/metrics`."""
    metrics = Metrics(roster)
    live.on_swap.append(metrics.swapped)
    live.on_refusal.append(metrics.refused_version)
    live.on_look.append(metrics.looked)
    app.add_middleware(Measured, metrics=metrics, routes=app.routes)
    app.add_api_route("/metrics", metrics.answer, include_in_schema=False)


def _parameters_of(openapi: dict[str, Any]) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Yields the parameters of the address by method and path, for each endpoint that OpenAPI shows."""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            told = operation.get("parameters", ())
            yield (method.upper(), path), [one["name"] for one in told if one["in"] == "query"]


def _add_facts(app: FastAPI, live: Live, limits: Limits) -> None:
    """Adds the routes that tell what the export holds: the version, contents, listeners, the map."""
    count = Query(ge=1, le=limits.max_k)
    text = Query(max_length=limits.max_text)

    @app.get("/health", responses=responses(shapes.Health))
    async def health() -> Response:
        """Returns 200 while the process serves."""
        return reply('{"status":"ok"}')

    @app.get("/ready", responses=responses(shapes.Ready))
    def ready() -> Response:
        """Returns 200 if questions are answered now: it waits for its turn as they do, and asks the version."""
        return reply(answers.ready(live.snapshot))

    @app.get("/version", responses=responses(shapes.ServedVersion))
    async def version() -> Response:
        """Returns the version of the export that is served; vectors of one `space_id` may be compared."""
        return reply(written(live.snapshot.facts))

    @app.get("/search", responses=responses(shapes.FoundContents, 422))
    def search(
        q: Annotated[str, text] = "", k: Annotated[int, count] = 20, kind: Annotated[tuple[str, ...], Query()] = ()
    ) -> Response:
        """Finds contents by title, artist or id, regardless of case and accents; an empty `q` gives the most played."""
        return reply(answers.find(live.snapshot, q, k, kind))

    @app.get("/users", responses=responses(shapes.FoundListeners, 422))
    def users(q: Annotated[str, text] = "", k: Annotated[int, count] = 20) -> Response:
        """Finds listeners by a part of their id."""
        return reply(answers.users(live.snapshot, q, k))

    @app.get("/user/{user_id:path}", responses=responses(shapes.ListenerHistory, 404, 422))
    def user(user_id: str, k: Annotated[int, count] = 20) -> Response:
        """Returns a listener and their latest `k` events, newest first."""
        return reply(answers.user(live.snapshot, user_id, k))

    @app.get("/content/{content_id:path}", responses=responses(shapes.Content, 404, 422))
    def content(content_id: str) -> Response:
        """Returns a content."""
        snapshot = live.snapshot
        return reply(snapshot.cards.card(snapshot.content_row(content_id)).json)

    @app.get("/map", responses=responses(shapes.DrawnMap, 422))
    def space_map(limit: Annotated[int, Query(ge=1, le=limits.max_map)] = min(10_000, limits.max_map)) -> Response:
        """Returns contents in two dimensions, an even sample of at most `limit`."""
        return reply(live.snapshot.map.json(limit))


def _add_questions(app: FastAPI, live: Live, limits: Limits) -> None:
    """Adds the routes of recommendations, neighbours, and vectors of new listeners and contents."""

    class OfListener(ListenerFilter):
        k: int = Field(20, ge=1, le=limits.max_k)

    class OfContent(ContentFilter):
        k: int = Field(10, ge=1, le=limits.max_k)

    @app.get("/recommend", responses=responses(shapes.Recommendations, 404, 422))
    def recommend(asked: Annotated[OfListener, Query()]) -> Response:
        """Recommends contents to a listener of the export, with reasons."""
        return recommend_for(RecommendQuestion.model_construct(**dict(asked)))

    @app.post("/recommend", responses=responses(shapes.Recommendations, 404, 413, 422))
    def recommend_for(question: RecommendQuestion) -> Response:
        """Recommends contents to a listener of the export, to a new one, or for a vector."""
        question.check(limits)
        return reply(answers.recommend(live.snapshot, question))

    @app.get("/similar", responses=responses(shapes.SimilarContents, 404, 422))
    def similar(asked: Annotated[OfContent, Query()]) -> Response:
        """Returns the contents near a content, of its own kind unless `kind` is given."""
        return similar_to(SimilarQuestion.model_construct(**dict(asked)))

    @app.post("/similar", responses=responses(shapes.SimilarContents, 404, 413, 422))
    def similar_to(question: SimilarQuestion) -> Response:
        """Returns the contents near a content of the export, or near a new one, given its sound and metadata."""
        question.check(limits)
        return reply(answers.similar(live.snapshot, question))

    @app.post("/embed", responses=responses(shapes.ListenerVector, 413, 422))
    def embed(question: EmbedQuestion) -> Response:
        """Returns the vector of a new listener, comparable with those of the same `space_id`."""
        question.check(limits)
        return reply(answers.embed(live.snapshot, question))

    @app.post("/embed_content", responses=responses(shapes.ContentVector, 413, 422))
    def embed_content(question: EmbedContentQuestion) -> Response:
        """Returns the vector of a new content, comparable with those of the same `space_id`."""
        return reply(answers.embed_content(live.snapshot, question))


def _add_files(app: FastAPI, live: Live) -> None:
    """Adds the routes of sound files, the page, and the list of endpoints."""

    sound: dict[int | str, dict[str, Any]] = {200: {"content": {"audio/*": {}}}}

    @app.get("/audio/{content_id:path}", response_class=FileResponse, responses=sound | refused_with(404, 422))
    def audio(content_id: str) -> Response:
        """Returns a content's sound file; byte ranges are served."""
        snapshot = live.snapshot
        row = snapshot.content_row(content_id)
        column = snapshot.export.contents.column("audio") if "audio" in snapshot.export.contents.column_names else None
        path = None if column is None else snapshot.audio.path_of(column[row].as_py())
        if path is None:
            raise NotFound(f"audio {content_id!r}: no sound here")
        return FileResponse(path)

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    def reference() -> Response:
        return HTMLResponse(reference_page(app.openapi()))

    app.mount("/static", StaticFiles(directory=PAGE), name="static")


def _add_errors(app: FastAPI) -> None:
    """Answers every error with one line of JSON, `{"error": ...}`."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if first["type"] in ("less_than_equal", "string_too_long") and first["loc"][-1] in BOUNDED:
            request.scope[LIMIT] = BOUNDED[first["loc"][-1]]
        where = ".".join(str(part) for part in first["loc"][1:])
        if not where and first["type"] != UNKNOWN_FIELD:
            where = str(first["loc"][0])
        return refusal(422, ": ".join(filter(None, (where, first["msg"]))))

    @app.exception_handler(UserError)
    async def refused(request: Request, error: UserError) -> Response:
        if isinstance(error, OverLimit):
            request.scope[LIMIT] = error.limit
        return refusal(404 if isinstance(error, NotFound) else 422, str(error))

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        response = refusal(error.status_code, error.detail)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return refusal(500, "an internal error; the server's log has it")
