"""The routes of lists: their kinds, the lists themselves, and editors' pools."""

from typing import Annotated

from fastapi import FastAPI, Query, Response
from pydantic import Field

from towers.service import playlist_answers as answers
from towers.service import playlist_shapes as shapes
from towers.service.answer_shapes import responses
from towers.service.limits import Limits
from towers.service.live import Live
from towers.service.playlist_questions import ListAddress, ListQuestion
from towers.service.replies import reply


def add_playlists(app: FastAPI, live: Live, limits: Limits) -> None:
    """Adds the routes of lists to the application."""

    class Asked(ListAddress):
        k: int | None = Field(None, ge=1, le=limits.max_k)

    @app.get("/playlists", responses=responses(shapes.ListKinds))
    def kinds() -> Response:
        """Returns the kinds of lists, and what each needs."""
        return reply(answers.kinds(live.snapshot))

    @app.get("/playlists/{playlist}", responses=responses(shapes.MadePlaylist, 404, 422))
    def made(playlist: str, asked: Annotated[Asked, Query()]) -> Response:
        """Makes a list of this kind for listeners of the export."""
        return made_for(playlist, ListQuestion.of_address(asked))

    @app.post("/playlists/{playlist}", responses=responses(shapes.MadePlaylist, 404, 413, 422))
    def made_for(playlist: str, question: ListQuestion) -> Response:
        """Makes a list of this kind for listeners of the export or a new one, from any pool."""
        question.check(limits)
        return reply(answers.playlist(live.snapshot, playlist, question))

    @app.get("/pools", responses=responses(shapes.EditorsPlaylists))
    def pools() -> Response:
        """Returns the editors' playlists, from which listeners get lists of their own."""
        return reply(answers.pools(live.snapshot))

    @app.get("/pools/{pool_id:path}", responses=responses(shapes.EditorsPool, 404, 422))
    def pool(pool_id: str) -> Response:
        """Returns an editor's playlist as a pool, to be changed and sent back."""
        return reply(answers.pool(live.snapshot, pool_id))
