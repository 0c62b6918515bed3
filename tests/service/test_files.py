"""Sound below its folder alone, the page, and the headers of all responses."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.service.conftest import app_of
from towers.retrieval.export import Export
from towers.service.audio import AudioFolder


@pytest.fixture(scope="module")
def sounding(golden: Export, tmp_path_factory: pytest.TempPathFactory) -> tuple[TestClient, list[str]]:
    """A client of an export with sounds, and its ids: one sound has a file, one has none, and others lie outside of the
    folder.
    """
    root = tmp_path_factory.mktemp("raw") / "data"
    (root / "audio").mkdir(parents=True)
    (root / "audio" / "a.ogg").write_bytes(bytes(range(100)))
    (root.parent / "secret.ogg").write_bytes(b"secret")
    (root / "link.ogg").symlink_to(root.parent / "secret.ogg")
    paths = ["audio/a.ogg", "audio/missing.ogg", "../secret.ogg", str(root.parent / "secret.ogg"), "link.ogg", "audio"]
    paths += ["audio/a.ogg\0", ""]
    contents = golden.contents
    audio = pa.array([*paths, *[None] * (len(contents) - len(paths))], pa.string())
    place = contents.column_names.index("audio")
    pq.write_table(contents.set_column(place, "audio", audio), golden.folder / "contents.parquet")
    return TestClient(app_of(golden.folder, root)), contents["content_id"].to_pylist()


def test_sound_by_ranges(sounding: tuple[TestClient, list[str]]) -> None:
    client, ids = sounding
    whole = client.get(f"/audio/{ids[0]}")
    assert (whole.status_code, whole.content) == (200, bytes(range(100)))
    assert whole.headers["Accept-Ranges"] == "bytes"
    part = client.get(f"/audio/{ids[0]}", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["Content-Range"] == "bytes 10-19/100"
    assert client.get(f"/audio/{ids[0]}", headers={"Range": "bytes=200-"}).status_code == 416
    assert client.get(f"/content/{ids[0]}").json()["audio"] == f"/audio/{ids[0]}"


def test_never_another_file(sounding: tuple[TestClient, list[str]]) -> None:
    client, ids = sounding
    for content_id in ids[1:10]:
        assert client.get(f"/audio/{content_id}").status_code == 404
        assert client.get(f"/content/{content_id}").json()["audio"] is None
    for path in ("/audio/..%2f..%2fsecret.ogg", "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py"):
        assert client.get(path).status_code == 404


def test_no_folder() -> None:
    assert AudioFolder(None).path_of("a.ogg") is None
    assert AudioFolder(Path("/nowhere")).path_of("a.ogg") is None


def test_the_page_keeps_to_its_own_origin(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert client.get("/static/index.html").text == page.text
    for path in ("/", "/health", "/nowhere", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_addresses_are_relative_so_that_a_prefix_will_do(small: Export) -> None:
    with TestClient(Starlette(routes=[Mount("/radio/towers", app_of(small.folder))])) as client:
        for path in ("/radio/towers", "/radio/towers/docs"):
            page = client.get(path)
            assert page.status_code == 200
            links = re.findall(r"""(?:href|src)=["']?([^"'> ]+)""", page.text)
            own = [link for link in links if not link.startswith("#")]
            assert own
            for link in own:
                assert client.get(str(page.url.join(link))).status_code == 200, link
                assert page.url.join(link).path.startswith("/radio/towers/")


def test_openapi_names_every_endpoint(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/health", "/ready", "/version", "/recommend", "/similar", "/embed", "/embed_content", "/search", "/users",
        "/user/{user_id}", "/content/{content_id}", "/map", "/audio/{content_id}",
        "/playlists", "/playlists/{playlist}", "/pools", "/pools/{pool_id}",
    }  # fmt: skip
    k = next(one for one in paths["/similar"]["get"]["parameters"] if one["name"] == "k")
    assert k["schema"]["maximum"] == 50


def test_the_endpoints_are_listed_without_another_host(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "://" not in page
    assert "<script" not in page
    for shown in ("GET /similar", "POST /embed", "history[].played_ms", "at most 50"):
        assert shown in page


def test_the_fields_of_every_answer_are_listed(client: TestClient) -> None:
    page = client.get("/docs").text
    links, anchors = re.findall(r"href=#(\w+)", page), re.findall(r"<h3 id=(\w+)>", page)
    assert set(links) == set(anchors) >= {"Recommendations", "ScoredContent", "Content", "Artist", "DrawnMap"}
    assert len(anchors) == len(set(anchors))
    assert "<tr><td>score<td>number<td>inner product" in page
