"""Ids that are integers in the data may be numbers in JSON, as in Python and on the command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.retrieval.small_export import content, small_export
from tests.service.conftest import VECTORS, app_of


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("numbered") / "v1"
    small_export(folder, [content(str(row)) for row in range(6)], VECTORS, {"7": [0], "-8": [1]})
    with TestClient(app_of(folder)) as asking:
        yield asking


def test_ids_of_a_question(numbered: TestClient) -> None:
    def asked(**question) -> list[str]:
        answer = numbered.post("/recommend", json=question)
        assert answer.status_code == 200, answer.text
        return [item["content"]["content_id"] for item in answer.json()["items"]]

    assert asked(user=7) == asked(user="7") == ["1", "2", "3", "4", "5"]
    assert asked(user=-8)[0] == "0"
    assert asked(user=7, deny=[1, "2", 3]) == ["4", "5"]
    assert asked(user=7, among=[5, "4", 10**30]) == ["4", "5"]


def test_ids_of_addresses(numbered: TestClient) -> None:
    """Ids in addresses are text, also those that clients write as numbers."""
    found = [item["content"]["content_id"] for item in numbered.get("/similar", params={"content": 2}).json()["items"]]
    assert found[:2] == ["1", "3"]
    assert numbered.get("/content/3").json()["content_id"] == "3"
    assert numbered.get("/user/-8").json()["history"][0]["content"]["content_id"] == "1"
    asked = numbered.get("/recommend", params={"user": 7, "deny": [1, 2], "among": [1, 3, 4]}).json()
    assert [item["content"]["content_id"] for item in asked["items"]] == ["3", "4"]


def test_a_content_of_a_body(numbered: TestClient) -> None:
    for content_id in (2, "2"):
        answer = numbered.post("/similar", json={"content": content_id, "k": 1}).json()
        assert (answer["content"]["content_id"], len(answer["items"])) == ("2", 1)
    refused = numbered.post("/similar", json={"content": True})
    assert refused.json()["error"] == "content: an id must be text or an integer, and True is bool"


def test_histories_of_integers(newest_client: TestClient) -> None:
    """Ids may stand alone or in events; this version knows none of these."""
    for history in ([1, "2", -3], [{"content_id": 1}, {"content_id": "2"}, {"content_id": -3}]):
        answer = newest_client.post("/embed", json={"history": history})
        assert (answer.status_code, answer.json()["unknown"]) == (200, 3)
    refused = newest_client.post("/embed", json={"history": [1, 2.5]})
    assert refused.json()["error"] == "history.1.content_id: an id must be text or an integer, and 2.5 is float"


def test_ids_of_metadata(newest_client: TestClient) -> None:
    metadata = {"artist_ids": [7, "8"], "album_id": 9, "kind": "track"}
    answer = newest_client.post("/embed_content", json={"metadata": metadata}).json()
    assert answer["unknown_values"] == ["metadata.artist_ids=7", "metadata.artist_ids=8", "metadata.album_id=9"]


def test_openapi_says_so(numbered: TestClient) -> None:
    schemas = numbered.get("/openapi.json").json()["components"]["schemas"]
    kinds = {one["type"] for one in schemas["RecommendQuestion"]["properties"]["user"]["anyOf"]}
    assert kinds == {"string", "integer", "null"}
    assert "<td>user<td>string or integer or null" in numbered.get("/docs").text
