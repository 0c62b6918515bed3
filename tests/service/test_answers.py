"""Each endpoint on an export with obvious answers: contents ten degrees apart on a quarter circle."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from tests.service.conftest import LIMITS
from towers.contract import schema
from towers.retrieval.export import Export
from towers.retrieval.mixing import listeners_against
from towers.retrieval.query import Query, Standing
from towers.retrieval.search import recommend


def texts_of(export: Export, vocabulary: str) -> list[str | None]:
    """Returns the texts of a vocabulary by code; code 0 stands for unknown."""
    return [None, *pq.read_table(export.folder / "vocabularies" / f"{vocabulary}.parquet")["value"].to_pylist()]


def ids(answer: dict) -> list[str]:
    return [item["content"]["content_id"] for item in answer["items"]]


def test_health_and_version(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    facts = client.get("/version").json()
    assert (facts["version"], facts["space_id"], facts["dim"]) == ("v1", "space", 2)
    assert facts["counts"] == {"contents": 6, "users": 3}


def test_recommended_is_what_the_reader_finds(client: TestClient, small: Export) -> None:
    answer = client.get("/recommend", params={"user": "u1", "k": 3}).json()
    found = listeners_against(small, small).recommend(small.user_row("u1"), Query(k=3))
    assert ids(answer) == [small.content_ids[row] for row in found.rows] == ["t/2", "e0", "t3"]
    assert [item["score"] for item in answer["items"]] == pytest.approx(found.scores.tolist(), abs=1e-6)
    assert (answer["version"], answer["space_id"], answer["unknown"]) == ("v1", "space", 0)


def test_kinds_and_what_was_heard(client: TestClient) -> None:
    def asked(**parameters) -> list[str]:
        return ids(client.get("/recommend", params={"user": "u0", **parameters}).json())

    assert asked() == ["t1", "t/2", "e0", "t3"]
    assert asked(kind="episode") == ["e0"]
    assert asked(kind=["artist", "episode"]) == ["e0", "a"]
    assert asked(include_heard=True) == ["t0", "t1", "t/2", "e0", "t3"]
    assert asked(k=1) == ["t1"]


def test_a_known_listener_by_post(client: TestClient) -> None:
    def asked(**question) -> dict:
        return client.post("/recommend", json={"user": "u0", **question}).json()

    assert asked() == client.get("/recommend", params={"user": "u0"}).json()
    assert ids(asked(deny=["t1"])) == ["t/2", "e0", "t3"]
    assert ids(asked(among=["t3", "e0", "t0"])) == ["e0", "t3"]
    assert ids(asked(among=[])) == []
    assert asked(among=["t3", "gone"], deny=["gone too"])["unknown"] == 2
    assert ids(asked(kind=["artist"])) == ["a"]


def test_reasons_of_recommendations(client: TestClient) -> None:
    answer = client.get("/recommend", params={"user": "u0", "include_heard": True}).json()
    reasons = {item["content"]["content_id"]: item["reasons"] for item in answer["items"]}
    assert reasons["t1"] == [
        {"reason": "shared_artist", "text": "by Sigur Rós, whom you played"},
        {"reason": "shared_genre", "text": "folk, which you played"},
        {"reason": "near_heard", "text": "like Ágætis byrjun, which you played"},
    ]
    assert [reason["reason"] for reason in reasons["t0"]] == ["heard_before", "shared_artist", "shared_genre"]
    nobody = client.get("/recommend", params={"user": "nobody"}).json()["items"]
    assert nobody
    assert not any(item["reasons"] for item in nobody)


def test_similar(client: TestClient) -> None:
    answer = client.get("/similar", params={"content": "t1"}).json()
    assert answer["content"]["title"] == "Ágætis, again"
    assert ids(answer) == ["t0", "t/2", "t3"]
    assert answer["items"][0]["score"] == pytest.approx(np.cos(np.deg2rad(10)), abs=1e-5)
    assert answer["items"][0]["reasons"] == [
        {"reason": "shared_artist", "text": "by the same artist, Sigur Rós"},
        {"reason": "shared_genre", "text": "the same genre, folk"},
    ]
    assert ids(client.get("/similar", params={"content": "t1", "kind": ["artist", "episode"]}).json()) == ["e0", "a"]


def test_a_content(client: TestClient) -> None:
    assert client.get("/content/t0").json() == {
        "content_id": "t0", "kind": "track", "title": "Ágætis byrjun", "artists": [{"id": "a", "name": "Sigur Rós"}],
        "album_id": None, "genres": ["folk"], "language": None, "release_date": None, "duration_ms": None,
        "explicit": None, "is_cold": False, "audio": None,
    }  # fmt: skip
    assert client.get("/content/t%2F2").json()["title"] == "<b>Bold</b>"
    assert client.get("/content/e0").json()["artists"] == [{"id": "b", "name": "b"}]
    assert client.get("/content/t3").json()["title"] == "t3"


def test_search(client: TestClient) -> None:
    def found(q: str, **parameters) -> list[str]:
        answer = client.get("/search", params={"q": q, **parameters}).json()
        return [content["content_id"] for content in answer["items"]]

    assert found("AGÆTIS") == ["t0", "t1"]
    assert found("agætis again") == ["t1"]
    assert found("sigur ros") == ["a", "t0", "t1"]
    assert found("sigur", kind="track", k=1) == ["t0"]
    assert found("t/2") == ["t/2"]
    assert found("nothing like it") == []


def test_listeners(client: TestClient) -> None:
    assert client.get("/users", params={"q": "U"}).json()["items"] == [
        {"user_id": "u0", "num_events": 1},
        {"user_id": "u1", "num_events": 2},
    ]
    assert len(client.get("/users", params={"k": 2}).json()["items"]) == 2
    answer = client.get("/user/u1").json()
    assert (answer["user_id"], answer["num_events"]) == ("u1", 2)
    assert answer["as_of"] == "1970-01-01T00:00:00.000002+00:00"
    assert [(event["content"]["content_id"], event["action"]) for event in answer["history"]] == [
        ("t0", "play"),
        ("t1", "play"),
    ]
    assert len(client.get("/user/u1", params={"k": 1}).json()["history"]) == 1
    assert client.get("/user/nobody").json()["history"] == []


def test_the_map(client: TestClient) -> None:
    answer = client.get("/map").json()
    assert answer["method"] == "principal_components"
    assert answer["content_id"] == ["t0", "t1", "t/2", "e0", "a", "t3"]
    assert answer["kind"][4] == "artist"
    assert answer["genre"] == ["folk"] * 6
    assert answer["is_cold"] == [False] * 6
    # On an arc the larger extent is along the chord, on which the order stays.
    assert sorted(answer["x"]) in (answer["x"], answer["x"][::-1])
    assert max(map(abs, answer["x"] + answer["y"])) == 1
    assert client.get("/map", params={"limit": 2}).json()["content_id"] == ["t0", "t3"]


class TestSomebodyNew:
    """Histories and features go through the user tower of the golden export."""

    def test_a_bare_history_is_as_the_command_line_reads_it(self, golden_client: TestClient, golden: Export) -> None:
        rows = np.flatnonzero(np.isin(golden.kinds, [schema.KIND_CODES["track"]]))[:4]
        history = [{"content_id": golden.content_ids[row]} for row in rows]
        plays = golden.plays(rows)
        expected = golden.encode_events(plays)
        encoded = golden_client.post("/embed", json={"history": history}).json()
        np.testing.assert_allclose(encoded["vector"], expected, atol=1e-6)
        assert encoded["space_id"] == golden.space_id
        answer = golden_client.post("/recommend", json={"history": history, "k": 5}).json()
        found = recommend(golden, expected, Query(k=5), Standing.of(plays, None))
        assert ids(answer) == [golden.content_ids[row] for row in found.rows]
        assert any(reason["reason"] == "near_heard" for item in answer["items"] for reason in item["reasons"])

    def test_raw_events_are_read_as_the_exported_history_was(self, golden_client: TestClient, golden: Export) -> None:
        lengths = np.array([len(golden.events(row)) for row in range(len(golden.user_ids))])
        row = int(np.argmax(np.where(lengths <= LIMITS.max_history, lengths, 0)))
        events, contexts = golden.events(row), texts_of(golden, "context")
        durations = golden.durations_ms[events.content_row]
        played = np.where((durations > 0) & (events.played_fraction >= 0), events.played_fraction * durations, np.nan)
        history = [
            {
                "content_id": None if content < 0 else golden.content_ids[content],
                "timestamp": str(np.datetime64(int(time), "us")),
                "action": schema.ACTIONS[action],
                "played_ms": None if np.isnan(played_ms) else played_ms,
                "context": contexts[context],
            }
            for content, time, action, played_ms, context in zip(
                events.content_row, events.timestamp_us, events.action, played, events.context, strict=True
            )
        ]
        features = {
            name: texts_of(golden, name)[code]
            for name, code in zip(golden.features.user_columns, golden.user_codes[row], strict=True)
        }
        question = {"history": history, "features": features}
        vector = golden_client.post("/embed", json=question).json()["vector"]
        np.testing.assert_allclose(vector, golden.user_vectors[row], atol=1e-5)

    def test_nobody_has_a_vector_too(self, golden_client: TestClient) -> None:
        for question in ({}, {"history": []}):
            assert np.linalg.norm(golden_client.post("/embed", json=question).json()["vector"]) == pytest.approx(1)
        assert len(golden_client.post("/recommend", json={"history": [], "k": 3}).json()["items"]) == 3

    def test_an_unknown_content_is_counted_and_not_refused(self, golden_client: TestClient) -> None:
        history = [{"content_id": "newer than the export"}, {"content_id": None, "action": "search"}]
        answer = golden_client.post("/recommend", json={"history": history, "k": 3}).json()
        assert answer["unknown"] == 1
        assert len(answer["items"]) == 3
