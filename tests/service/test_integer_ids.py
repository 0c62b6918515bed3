"""Ids that are numbers in the data may be numbers in JSON, as they may in Python and on the command line."""

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


def test_openapi_says_so(numbered: TestClient) -> None:
    schemas = numbered.get("/openapi.json").json()["components"]["schemas"]
    kinds = {one["type"] for one in schemas["RecommendQuestion"]["properties"]["user"]["anyOf"]}
    assert kinds == {"string", "integer", "null"}
    assert "<td>user<td>string or integer or null" in numbered.get("/docs").text
