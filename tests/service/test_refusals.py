"""A refused request gets one line of JSON that names the field."""

import pytest
from fastapi.testclient import TestClient

from tests.service.conftest import LIMITS

EVENT = {"content_id": "t0"}


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/recommend", 422, "give either user, or history and features of a new listener, or vector"),
        ("/recommend?user=u0&kinds=track", 422, "kinds: no such field; did you mean kind?"),
        ("/recommend?user=who", 404, "user 'who': no such listener in version v1"),
        ("/recommend?user=u0&k=0", 422, "k: "),
        ("/recommend?user=u0&k=51", 422, "k: "),
        ("/recommend?user=u0&k=1e9", 422, "k: "),
        ("/recommend?user=u0&kind=song", 422, "kind=song: no such kind; there are track"),
        ("/recommend?user=u0&include_heard=perhaps", 422, "include_heard: "),
        ("/recommend?user=u0&released_by=soon", 422, "released_by: soon: must be a date"),
        ("/recommend?user=u0&skip_cooldown_days=nan", 422, "skip_cooldown_days: "),
        ("/similar?content=t0&released_by=1", 422, "released_by: 1: must be a date"),
        ("/similar?content=gone", 404, "content 'gone': no such content"),
        ("/similar?content=t0&kind=song", 422, "kind=song"),
        ("/similar", 422, "give either content, or audio"),
        ("/content/gone", 404, "content 'gone'"),
        ("/user/gone", 404, "user 'gone'"),
        ("/user/u0?k=-1", 422, "k: "),
        ("/search?kinds=track", 422, "kinds: no such field; did you mean kind?"),
        ("/recommend?user=u0&allow=t0", 422, "allow: no such field; did you mean among?"),
        ("/health?deep=1", 422, "deep: no such field; there are none"),
        (f"/search?q={'a' * 31}", 422, "q: "),
        ("/search?kind=song", 422, "kind=song"),
        ("/users?k=x", 422, "k: "),
        ("/map?limit=1001", 422, "limit: "),
        ("/audio/t0", 404, "audio 't0': no sound here"),
        ("/nowhere", 404, "Not Found"),
        ("/docs/x", 404, "Not Found"),
        ("/content/%00%ff", 404, "content "),
    ],
)
def test_get(client: TestClient, path: str, status: int, said: str) -> None:
    check(client.get(path), status, said)


@pytest.mark.parametrize(
    ("question", "status", "said"),
    [
        ({}, 422, "give either user"),
        ({"user": "u0", "history": [EVENT]}, 422, "give either user"),
        ({"user": "u0", "features": {"country": "IS"}}, 422, "give either user"),
        ({"user": "gone"}, 404, "user 'gone'"),
        ({"user": 7}, 404, "user '7'"),
        ({"user": True}, 422, "user: an id must be text or an integer, and True is bool"),
        ({"user": 7.0}, 422, "user: an id must be text or an integer, and 7.0 is float"),
        ({"user": ["u0"]}, 422, "user: an id must be"),
        ({"user": "u0", "deny": [1, False]}, 422, "deny.1: an id must be"),
        ({"user": "u0", "among": [None]}, 422, "among.0: an id must be"),
        ({"history": [{**EVENT, "content_id": 1.5}]}, 422, "history.0.content_id: an id must be"),
        ({"user": "u0", "released_by": "soon"}, 422, "released_by: soon: must be a date such as 2026-07-29"),
        ({"user": "u0", "skip_cooldown_days": -1}, 422, "skip_cooldown_days: "),
        ({"user": "u0", "k": 51}, 422, "k: 51, must be at most 50"),
        ({"user": "u0", "k": 0}, 422, "k: "),
        ({"user": "u0", "kind": ["song"]}, 422, "kind=song"),
        ({"user": "u0", "kind": []}, 422, "kind: give at least one"),
        ({"user": "u0", "kinds": ["track"]}, 422, "kinds: no such field; did you mean kind?"),
        ({"user": "u0", "among": ["t0"] * 21}, 422, "among: 21 entries, must be at most 20"),
        ({"user": "u0", "deny": ["t0"] * 21}, 422, "deny: 21 entries"),
        ({"user": "u0", "allow": ["t0"]}, 422, "allow: no such field; did you mean among?"),
        ({"history": [{**EVENT, "contextt": "home"}]}, 422, "history.0: contextt: no such field; did you mean context"),
        ({"user": "u0", "deny": "t0"}, 422, "deny: "),
        ({"history": [EVENT] * 101}, 422, "history: 101 entries, must be at most 100"),
        ({"history": [{**EVENT, "action": "hum"}]}, 422, "history.0.action: "),
        ({"history": [{**EVENT, "played_ms": -1}]}, 422, "history.0.played_ms: "),
        ({"history": [{**EVENT, "timestamp": "yesterday"}]}, 422, "history.0.timestamp: "),
        ({"history": [{**EVENT, "timestamp": "2026-01-01"}, EVENT]}, 422, "history.1.timestamp: missing"),
        ([], 422, "body: "),
    ],
)
def test_post(golden_client: TestClient, client: TestClient, question, status: int, said: str) -> None:
    asking = golden_client if isinstance(question, dict) and "history" in question else client
    check(asking.post("/recommend", json=question), status, said)


def test_an_unknown_column_of_a_listener(golden_client: TestClient) -> None:
    check(golden_client.post("/embed", json={"features": {"shoe_size": 43}}), 422, "features.shoe_size: no such")


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"user": "u0", "k": NaN}', b"[" * 10_000])
def test_a_body_that_is_not_json(client: TestClient, body: bytes) -> None:
    response = client.post("/recommend", content=body, headers={"Content-Type": "application/json"})
    check(response, 400 if response.status_code == 400 else 422, "")


def test_a_body_that_is_too_long(client: TestClient) -> None:
    body = b" " * (LIMITS.max_body_bytes + 1)
    check(client.post("/recommend", content=body), 413, "body: must be at most 20,000 bytes")
    check(client.post("/recommend", content=iter([body[:9_000]] * 3)), 413, "body: ")  # its length unsaid


def test_an_unpaired_surrogate_is_an_unknown_id(client: TestClient) -> None:
    body = rb'{"user": "\ud800"}'
    check(client.post("/recommend", content=body, headers={"Content-Type": "application/json"}), 404, "user ")


def test_other_methods(client: TestClient) -> None:
    response = client.delete("/recommend")
    check(response, 405, "Method Not Allowed")
    assert "GET" in response.headers["Allow"]


def check(response, status: int, said: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    answer = response.json()
    assert list(answer) == ["error"]
    assert answer["error"].startswith(said), answer
    assert "\n" not in answer["error"]
