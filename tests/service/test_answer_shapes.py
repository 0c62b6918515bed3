"""Answers are written without the models that describe them; here they are checked against these, field by field."""

from typing import Any, get_args

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from towers.contract import schema
from towers.retrieval.export import Export
from towers.service import answer_shapes, playlist_shapes
from towers.service.answer_shapes import REFUSALS, Kind, Refusal
from towers.service.questions import Action

SOUND = ("GET", "/audio/{content_id:path}")
"""The endpoint that does not answer in JSON."""


def routes(client: TestClient) -> dict[tuple[str, str], APIRoute]:
    """Returns the routes that OpenAPI shows, by method and path."""
    app = client.app
    assert isinstance(app, FastAPI)
    shown = [route for route in app.routes if isinstance(route, APIRoute) and route.include_in_schema]
    return {(method, route.path): route for route in shown for method in route.methods}


def asked(user_id: str, content_id: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Returns questions for every endpoint, by method and path."""
    history = [{"content_id": content_id}, {"content_id": "newer than the export"}, {"action": "search"}]
    return {
        ("GET", "/health"): [{"url": "/health"}],
        ("GET", "/ready"): [{"url": "/ready"}],
        ("GET", "/version"): [{"url": "/version"}],
        ("GET", "/search"): [{"url": "/search"}, {"url": "/search", "params": {"q": "nothing like it"}}],
        ("GET", "/users"): [{"url": "/users"}],
        ("GET", "/user/{user_id:path}"): [{"url": f"/user/{user_id}"}],
        ("GET", "/content/{content_id:path}"): [{"url": f"/content/{content_id}"}],
        ("GET", "/map"): [{"url": "/map"}],
        ("GET", "/recommend"): [{"url": "/recommend", "params": {"user": user_id, "include_heard": True}}],
        ("POST", "/recommend"): [
            {"url": "/recommend", "json": {"user": user_id}},
            {"url": "/recommend", "json": {"history": history}},
        ],
        ("GET", "/similar"): [{"url": "/similar", "params": {"content": content_id, "k": 50}}],
        ("POST", "/similar"): [
            {"url": "/similar", "json": {"content": content_id}},
            {"url": "/similar", "json": {"metadata": {"genres": ["folk", "polka"]}}},
        ],
        ("POST", "/embed"): [{"url": "/embed", "json": {"history": history, "features": {"country": "nowhere"}}}],
        ("POST", "/embed_content"): [{"url": "/embed_content", "json": {"metadata": {"genres": ["folk"]}}}],
    }


def asked_of_lists(users: list[str], contents: list[str], editors: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Returns requests of every kind of list and of pools, by method and path."""
    blend = {"users": users[:1], "history": contents, "left_out": ["nobody"], "deny": ["gone"]}
    pool = {"contents": contents, "k": 2, "pins": [{"place": 1, "content": contents[1]}]}
    return {
        ("GET", "/playlists"): [{"url": "/playlists"}],
        ("GET", "/playlists/{playlist}"): [
            {"url": "/playlists/mix", "params": {"user": users[0], "familiar": 0.5, "k": 4}},
            {"url": "/playlists/path", "params": {"content": contents[:2]}},
            {"url": "/playlists/algotorial", "params": {"user": users[0], "pool": editors}},
        ],
        ("POST", "/playlists/{playlist}"): [
            {"url": "/playlists/blend", "json": blend},
            {"url": "/playlists/algotorial", "json": {"users": users[:1], "pool": pool}},
            {"url": "/playlists/pool_proposal", "json": {"contents": contents}},
        ],
        ("GET", "/pools"): [{"url": "/pools"}],
        ("GET", "/pools/{pool_id:path}"): [{"url": f"/pools/{editors}"}],
    }


def test_every_endpoint_answers_as_its_model_says(newest: Export, newest_client: TestClient) -> None:
    users, contents = newest.user_ids, newest.content_ids
    tracks = [contents[row] for row in newest.playlists.members[0][:3].tolist()]
    questions = asked(users[0], contents[0])
    questions |= asked_of_lists([users[1], users[2]], tracks, contents[int(newest.playlists.content_row[0])])
    known = routes(newest_client)
    assert set(questions) == set(known) - {SOUND}
    for (method, path), each in questions.items():
        for question in each:
            answer = newest_client.request(method, **question)
            assert answer.status_code == 200, answer.text
            model = known[method, path].responses[200]["model"]
            model.model_validate_json(answer.text, strict=True, extra="forbid")


@pytest.mark.parametrize("path", ["/recommend?user=u0&include_heard=true", "/similar?content=t0", "/user/u1", "/map"])
def test_an_export_without_times_or_a_user_tower(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    known = routes(client)
    name = path.partition("?")[0].replace("/u1", "/{user_id:path}")
    known["GET", name].responses[200]["model"].model_validate_json(answer.text, strict=True, extra="forbid")


@pytest.mark.parametrize(
    ("path", "status"), [("/user/gone", 404), ("/content/gone", 404), ("/map?limit=0", 422), ("/similar", 422)]
)
def test_refusals(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    Refusal.model_validate_json(answer.text, strict=True, extra="forbid")


def test_openapi_shows_answers_and_refusals(client: TestClient) -> None:
    openapi = client.get("/openapi.json").json()
    assert not {"HTTPValidationError", "ValidationError"} & set(openapi["components"]["schemas"])
    for path, methods in openapi["paths"].items():
        for operation in methods.values():
            said = dict(operation["responses"])
            (media, content), *others = said.pop("200")["content"].items()
            assert not others
            if path.startswith("/audio/"):
                assert media == "audio/*"
            else:
                name = content["schema"]["$ref"].rpartition("/")[2]
                assert hasattr(answer_shapes, name) or hasattr(playlist_shapes, name)
            assert {int(status) for status in said} <= set(REFUSALS)
            for refusal in said.values():
                assert refusal["content"]["application/json"]["schema"]["$ref"].endswith("/Refusal")


def test_words_are_those_of_the_contract() -> None:
    assert get_args(Kind) == schema.KINDS
    assert get_args(Action) == schema.ACTIONS
