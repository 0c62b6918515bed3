"""The metrics of a server at `/metrics`, read by Prometheus' own parsers."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as of_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.service.conftest import GOLDEN, LIMITS, app_of
from towers.manifest import point_to
from towers.retrieval.export import Export
from towers.service.app import Watched, create_app
from towers.service.audio import AudioFolder
from towers.service.edge import Edge
from towers.service.live import LOG, Live
from towers.service.metrics import BUCKETS, UNKNOWN, Measured, Metrics
from towers.service.roster import Roster, Served
from towers.service.snapshot import Snapshot
from towers.service.telling import status
from towers.service.write_guard import WriteGuard

Told = dict[tuple[str, frozenset[tuple[str, str]]], float]


def told(client: TestClient, name: str = "", **labels: str) -> float | Told:
    """Returns all samples by name and labels; with a name, the sum of those that have it and the labels."""
    samples: list[Sample] = [
        sample
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    ]  # fmt: skip
    if not name:
        return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    return sum(s.value for s in samples if s.name == f"towers_server_{name}" and labels.items() <= s.labels.items())


@pytest.fixture
def asking(small: Export) -> Iterator[TestClient]:
    with TestClient(app_of(small.folder), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "route", "code"),
    [
        ("GET", "/health", "/health", 200),
        ("GET", "/user/somebody", "/user/{user_id:path}", 404),
        ("GET", "/content/a/b?k=1", "/content/{content_id:path}", 422),
        ("GET", "/static/nothing.js", "/static", 404),
        ("GET", "/nowhere/somebody", UNKNOWN, 404),
        ("POST", "/health", "/health", 405),
        ("POST", "/playlists/mix", "/playlists/{playlist}", 422),
        ("BREW", "/somebody", UNKNOWN, 404),
    ],
)
def test_a_request_counts_by_its_routes_template(
    client: TestClient, method: str, path: str, route: str, code: int
) -> None:
    counted = {"method": method if method != "BREW" else UNKNOWN, "route": route}
    before = told(client, "requests_total", status=str(code), **counted)
    body = {"json": {"users": []}} if method == "POST" else {}
    assert client.request(method, path, **body).status_code == code
    assert told(client, "requests_total", status=str(code), **counted) == before + 1
    times = told(client, "request_duration_seconds_count", **counted)
    assert told(client, "request_duration_seconds_bucket", le="+Inf", **counted) == times
    assert 0 < told(client, "request_duration_seconds_sum", **counted) < 30


def test_no_label_holds_who_asked_or_for_what(asking: TestClient) -> None:
    for path in (
        "user/ID",
        "recommend?user=ID",
        "search?q=ID",
        "ID",
        "home?user=ID",
        "static/ID",
        "playlists/ID?user=ID",
    ):
        asking.get(f"/{path.replace('ID', 'secret-listener')}")
        asking.request("SECRET-LISTENER", "/health")
    assert "secret-listener" not in asking.get("/metrics").text.lower()


def test_the_template_is_found_below_a_prefix(small: Export) -> None:
    with TestClient(app_of(small.folder), root_path="/radio") as client:
        client.get("/radio/user/somebody")
        client.get("/radio/static/nothing.js")
        client.post("/radio/embed", content=b"x" * 30_000)
        for route in ("/user/{user_id:path}", "/static", "/embed"):
            assert told(client, "requests_total", route=route) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "limit"),
    [
        ("GET", "/recommend?user=a&k=51", {}, "max_k"),
        ("POST", "/similar", {"json": {"content": "a", "k": 51}}, "max_k"),
        ("POST", "/recommend", {"json": {"history": ["a"] * 101}}, "max_history"),
        ("POST", "/recommend", {"json": {"user": "a", "deny": ["a"] * 21}}, "max_ids"),
        ("GET", "/search?q=" + "a" * 31, {}, "max_text"),
        ("GET", "/map?limit=2000", {}, "max_map"),
        ("POST", "/playlists/blend", {"json": {"users": list("abcdef")}}, "max_members"),
        ("POST", "/embed", {"content": b"x" * 20_001}, "max_body_bytes"),
    ],
)
def test_a_limit_that_refuses_is_named(
    client: TestClient, method: str, path: str, body: dict[str, object], limit: str
) -> None:
    before, all_before = told(client, "refused_total", limit=limit), told(client, "refused_total")
    assert client.request(method, path, **body).status_code in (413, 422)
    assert told(client, "refused_total", limit=limit) == before + 1
    assert told(client, "refused_total") == all_before + 1


def test_what_is_wrong_without_a_limit_is_refused_by_none(asking: TestClient) -> None:
    for path in ("/recommend?user=unheard", "/recommend?user=a&familiar=7", "/recommend", "/map?limit=0"):
        assert asking.get(path).status_code in (404, 422)
    assert told(asking, "refused_total") == 0


def test_writes_that_the_edge_refuses_are_counted_by_their_routes() -> None:
    app, metrics = FastAPI(), Metrics(Roster())
    guard = WriteGuard("token-of-writers", 0.5, 10, clock=lambda: 0.0)  # room for one write
    app.add_middleware(Edge, max_body_bytes=100, guard=guard)
    app.add_middleware(Measured, metrics=metrics, routes=app.routes)
    app.add_api_route("/metrics", metrics.answer)
    app.add_api_route("/outcome", metrics.answer, methods=["POST"])  # which no request reaches
    writer = {"Authorization": "Bearer token-of-writers"}
    with TestClient(app) as client:
        assert client.post("/outcome").status_code == 401
        assert told(client, "refused_total") == 0  # no limit
        assert client.post("/outcome", headers=writer, content=b"x" * 11).status_code == 413
        assert client.post("/outcome", headers=writer).status_code == 429
        for code in ("401", "413", "429"):
            assert told(client, "requests_total", method="POST", route="/outcome", status=code) == 1
        for limit in ("max_outcome_bytes", "max_writes_per_s"):
            assert told(client, "refused_total", limit=limit) == 1


def test_errors_and_requests_in_flight(small: Export) -> None:
    app = app_of(small.folder)
    asked, answered = threading.Event(), threading.Event()

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError

    @app.get("/slow")
    def slow() -> dict[str, int]:
        asked.set()
        assert answered.wait(20)
        return {}

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/broken").status_code == 500
        assert told(client, "requests_total", route="/broken", status="500") == 1
        assert told(client, "requests_in_flight") == 1  # the request for the metrics
        request = threading.Thread(target=client.get, args=("/slow",))
        request.start()
        assert asked.wait(20)
        assert told(client, "requests_in_flight") == 2
        assert told(client, "requests_total", route="/slow") == 0
        answered.set()
        request.join()
        assert told(client, "requests_total", route="/slow", status="200") == 1
        assert told(client, "requests_in_flight") == 1


def test_how_long_a_request_took(small: Export) -> None:
    app = app_of(small.folder)

    @app.get("/slow")
    async def slow() -> dict[str, int]:
        await asyncio.sleep(0.06)
        return {}

    with TestClient(app) as client:
        client.get("/slow")
        assert 0.06 <= told(client, "request_duration_seconds_sum", route="/slow") < 10
        assert told(client, "request_duration_seconds_bucket", route="/slow", le="0.05") == 0
        found = {labels for name, labels in told(client) if name.endswith("_bucket")}
        bounds = {dict(labels)["le"] for labels in found}
    assert bounds == {*map(str, BUCKETS), "+Inf"}
    assert (BUCKETS[0], BUCKETS[-1]) == (0.0005, 10)


def test_what_serves(golden_client: TestClient) -> None:
    asking = golden_client
    version = asking.get("/version").json()
    labels = {"version": version["version"]}
    assert told(asking, "workers", space_id=version["space_id"], format="1", towers=version["towers"], **labels) == 1
    assert told(asking, "contents", **labels) == version["counts"]["contents"]
    assert told(asking, "listeners", **labels) == version["counts"]["users"]
    end = told(asking, "data_end_timestamp_seconds", **labels)
    assert end == pytest.approx(Export(GOLDEN).until_us / 1e6)
    assert told(asking, "data_age_seconds", **labels) == pytest.approx(time.time() - end, abs=20)
    assert told(asking, "opened_timestamp_seconds", **labels) == pytest.approx(time.time(), abs=60)
    assert told(asking)["process_resident_memory_bytes", frozenset()] > 10_000_000


def test_data_without_a_clock_has_no_age(small: Export) -> None:
    with TestClient(app_of(small.folder)) as client:
        assert told(client, "contents", version="v1") == len(small.vectors)
        assert not [name for name, _ in told(client) if "data_age" in name or "data_end" in name]


def test_a_swap_and_a_version_that_is_not_opened(
    make_version: Callable[..., Export], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOG, "handlers", [])
    first, second, third = (make_version(name).folder for name in ("v1", "v2", "v3"))
    current = first.parent / "current"
    point_to(current, first)
    live = Live(current, lambda folder: Snapshot.open(folder, AudioFolder(None)), 60.0)
    with TestClient(create_app(lambda: live, LIMITS, 4)) as client:
        assert told(client, "swaps_total") == told(client, "last_swap_timestamp_seconds") == 0
        point_to(current, second)
        assert live.look()
        assert told(client, "swaps_total") == 1
        assert told(client, "last_swap_timestamp_seconds") == pytest.approx(time.time(), abs=20)
        assert (told(client, "workers", version="v1"), told(client, "workers", version="v2")) == (0, 1)
        (third / "contents.parquet").unlink()
        point_to(current, third)
        assert not live.look()
        assert not live.look()  # not tried again at once
        assert told(client, "refused_versions_total") == 1
        assert told(client, "workers", version="v2") == told(client, "workers") == 1


def test_the_form_is_what_is_asked_for(asking: TestClient) -> None:
    plain = asking.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert plain.headers["Content-Encoding"] == "gzip"
    open_metrics = asking.get("/metrics", headers={"Accept": "application/openmetrics-text", "Accept-Encoding": "br"})
    assert open_metrics.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "Content-Encoding" not in open_metrics.headers
    names = {family.name for family in of_openmetrics(open_metrics.text)}
    assert names >= {"towers_server_requests", "towers_server_workers", "process_cpu_seconds"}


def test_it_is_no_endpoint_of_answers(asking: TestClient) -> None:
    assert "metrics" not in asking.get("/docs").text
    assert "/metrics" not in asking.get("/openapi.json").json()["paths"]


def test_it_can_be_switched_off(small: Export) -> None:
    live = Live(small.folder, lambda folder: Snapshot.open(folder, AudioFolder(None)), 60.0)
    with TestClient(create_app(lambda: live, LIMITS, 4, watched=Watched(metrics=False))) as client:
        assert client.get("/metrics").status_code == 404
        assert client.get("/health").status_code == 200


def served(version: str, opened_s: float) -> Served:
    return Served(
        version=version, space_id="s", format=5, towers="1", data_end_s=None, opened_s=opened_s, contents=1, listeners=2
    )


def test_processes_know_of_one_another_by_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roster = Roster(tmp_path)
    for process, version in ((11, "v1"), (12, "v2")):
        monkeypatch.setattr("os.getpid", lambda number=process: number)
        Roster(tmp_path).tell(served(version, float(process)))
    found = roster.processes()
    assert {process: one.version for process, (one, _) in found.items()} == {11: "v1", 12: "v2"}
    assert all(0 <= silent_s < 10 for _, silent_s in found.values())
    told_of = {process: one for process, (one, _) in found.items()}
    assert status(told_of) == "serving v2 (space s) by 1 process, v1 (space s) by 1 process"
    assert status({11: served("v1", 1.0), 12: served("v1", 2.0)}) == "serving v1 (space s) by 2 processes"
    roster.gone(11)
    roster.gone(11)
    assert set(roster.processes()) == {12}


def test_two_applications_in_one_process_count_apart(small: Export) -> None:
    with TestClient(app_of(small.folder)) as one, TestClient(app_of(small.folder)) as other:
        one.get("/health")
        assert isinstance(one.app, FastAPI)
        assert told(one, "requests_total", route="/health") == 1
        assert told(other, "requests_total", route="/health") == 0
