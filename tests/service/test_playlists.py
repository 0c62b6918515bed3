"""Lists over HTTP: the arguments of each kind, its answer, and refusals in one line."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from tests.service.conftest import LIMITS
from towers.contract import schema
from towers.policies.asking import request_of
from towers.policies.kinds import KINDS
from towers.policies.playlists.discover_weekly import DiscoverWeekly
from towers.policies.request import Shared
from towers.policies.shown import part_name
from towers.policies.told import table_of
from towers.retrieval.export import Export
from towers.service.app import create_app
from towers.service.audio import AudioFolder
from towers.service.live import Live
from towers.service.playlist_kinds import SHOWN
from towers.service.snapshot import Snapshot


@pytest.fixture(scope="module")
def tracks(newest: Export) -> list[str]:
    return [newest.content_ids[row] for row in newest.playlists.members[0].tolist()]


@pytest.fixture(scope="module")
def editors(newest: Export) -> str:
    """Returns the id of the one playlist of an editor."""
    return newest.content_ids[int(newest.playlists.content_row[0])]


def some(newest: Export, kind: str, number: int) -> list[str]:
    rows = np.flatnonzero(newest.kinds == schema.KINDS.index(kind))
    return [newest.content_ids[row] for row in rows[:number].tolist()]


def test_the_kinds_are_those_that_configurations_name(newest_client: TestClient) -> None:
    items = newest_client.get("/playlists").json()["items"]
    assert {item["name"] for item in items} == set(KINDS) == set(SHOWN)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_needs_what_it_says(newest: Export, newest_client: TestClient, editors: str, name: str) -> None:
    needs = SHOWN[name]
    least = {"users": needs.users[0], "contents": needs.contents[0]}
    given = {"users": newest.user_ids[: least["users"]], "contents": some(newest, needs.of[0], least["contents"])}
    given |= {"pool": editors} if needs.pool else {}
    answer = newest_client.post(f"/playlists/{name}", json=given)
    assert answer.status_code == 200, answer.text
    assert answer.json()["title"] == needs.title
    for field, number in least.items():
        if number:
            without = given | {field: given[field][1:]}
            assert newest_client.post(f"/playlists/{name}", json=without).status_code == 422, field
    if needs.pool:
        refused = newest_client.post(f"/playlists/{name}", json=given | {"pool": None})
        assert refused.json()["error"].startswith("pool: give an editor's pool")


def test_a_list_is_the_one_that_python_gives(newest: Export, newest_client: TestClient) -> None:
    user, query = newest.user_ids[1], {"k": 6, "familiar": 0.5}
    made = KINDS["mix"]().make(request_of(Shared(newest), users=[user], asked=query))
    told = newest_client.get("/playlists/mix", params={"user": user, **query}).json()
    items = told["items"]
    assert [item["content"]["content_id"] for item in items] == [newest.content_ids[row] for row in made.rows.tolist()]
    assert [item["reasons"][0]["reason"] for item in items] == [reason.kind for reason in made.reasons]
    assert [item["score"] for item in items] == pytest.approx(made.scores.tolist(), abs=1e-6)
    assert sum(item["heard"] for item in items) == 3
    assert told == newest_client.post("/playlists/mix", json={"users": [user], **query}).json()


def test_nothing_of_earlier_weeks_comes_again(newest: Export, tmp_path: Path) -> None:
    audio, user = AudioFolder(None), newest.user_ids[2]
    # The golden export has few contents that a listener has never met.
    made = DiscoverWeekly(k=2).make(request_of(Shared(newest), users=[user]))
    folder = tmp_path / "discover_weekly" / "2026-W18"
    folder.mkdir(parents=True)
    pq.write_table(table_of(newest, [made], [user]), folder / part_name(0, 1))
    shown = {newest.content_ids[row] for row in made.rows.tolist()}
    snapshot = Snapshot.open(newest.folder, audio, tmp_path)
    live = Live(newest.folder, lambda _: snapshot, 60.0)
    with TestClient(create_app(lambda: live, LIMITS, 4)) as client:
        for week, is_minded in ((None, True), ("2026-W19", True), ("2026-W18", False), ("2026-W27", False)):
            told = client.post("/playlists/discover_weekly", json={"users": [user], "week": week}).json()
            got = {item["content"]["content_id"] for item in told["items"]}
            assert got.isdisjoint(shown) == is_minded, week
        refused = client.post("/playlists/discover_weekly", json={"users": [user], "week": "soon"})
        assert refused.json()["error"].startswith("week=soon: must be an ISO week")


def test_a_blend_tells_whose_each_place_is(newest: Export, newest_client: TestClient, tracks: list[str]) -> None:
    users = newest.user_ids[1:3]
    told = newest_client.post("/playlists/blend", json={"users": users, "history": [*tracks[:4], "gone"]}).json()
    assert told["unknown"] == 1
    assert sorted(told["facts"]["members"]) == sorted([*users, "new"])
    assert 0 <= told["facts"]["match"] <= 100
    for item in told["items"]:
        assert [share["member"] for share in item["shares"]] == told["facts"]["members"]
        assert sum(share["share"] for share in item["shares"]) == pytest.approx(1, abs=1e-5)
        assert item["heard"] is None
    assert any(share["reasons"] for item in told["items"] for share in item["shares"])
    without = {"users": users, "left_out": users[:1]}
    assert newest_client.post("/playlists/blend", json=without).json()["error"].startswith("blend: takes at least two")


def test_a_pool_is_taken_changed_and_sent_back(newest: Export, newest_client: TestClient, editors: str) -> None:
    assert [pool["pool_id"] for pool in newest_client.get("/pools").json()["items"]] == [editors]
    found = newest_client.get(f"/pools/{editors}").json()
    ids = [content["content_id"] for content in found["contents"]]
    assert ids == found["pool"]["contents"]
    changed = found["pool"] | {"k": 4, "pins": [{"place": 2, "content": ids[-1]}]}
    told = newest_client.post("/playlists/algotorial", json={"users": newest.user_ids[1:2], "pool": changed}).json()
    shown = [item["content"]["content_id"] for item in told["items"]]
    assert len(shown) == 4
    assert shown[1] == ids[-1]
    assert set(shown) <= set(ids)


def test_what_is_new_is_of_no_use_to_who_knows_nothing(newest_client: TestClient, editors: str) -> None:
    """A listener who has met nothing gets the editor's order."""
    told = newest_client.post("/playlists/algotorial", json={"history": [], "pool": editors}).json()
    shown = [item["content"]["content_id"] for item in told["items"]]
    assert shown == newest_client.get(f"/pools/{editors}").json()["pool"]["contents"][: len(shown)]


EVENT = {"content_id": "gone"}


@pytest.mark.parametrize(
    ("name", "question", "status", "said"),
    [
        ("mixx", {}, 404, "playlist 'mixx': no such kind of list; did you mean mix?"),
        ("mix", {"users": ["gone"]}, 404, "user 'gone': no such listener"),
        ("mix", {"user": "gone"}, 422, "user: no such field; did you mean users?"),
        ("mix", {"users": ["u"] * 6}, 422, "users: 6 entries, must be at most 5"),
        ("mix", {}, 422, "user: this kind of list is for one listener"),
        ("mix", {"history": [EVENT] * 101}, 422, "history: 101 entries"),
        ("mix", {"history": [EVENT], "k": 51}, 422, "k: 51, must be at most 50"),
        ("mix", {"history": [EVENT], "k": 0}, 422, "k: "),
        ("mix", {"history": [EVENT], "kind": ["song"]}, 422, "kind=song: no such kind"),
        ("mix", {"history": [EVENT], "familiar": 2}, 422, "familiar: "),
        ("discover_weekly", {"history": [EVENT], "familiar": 0.5}, 422, "familiar: Discover Weekly holds nothing"),
        ("radio", {"contents": ["gone"]}, 404, "content 'gone': no such content"),
        ("radio", {"contents": ["t"] * 11}, 422, "contents: 11 entries, must be at most 10"),
        ("radio", {"contents": "gone"}, 422, "contents: "),
        ("blend", {"partners": ["gone"]}, 404, "content 'gone': no such content"),
        ("blend", {"curators": ["gone"]}, 422, "curator=gone: made none"),
        ("blend", {"history": [EVENT]}, 422, "blend: takes at least two"),
        ("algotorial", {"history": [], "pool": "gone"}, 404, "pool 'gone': no such playlist of an editor"),
        # A name of a file of the server is an id that is not known, whether there is such a file or not.
        ("algotorial", {"history": [], "pool": "/etc/pool.yaml"}, 404, "pool '/etc/pool.yaml': no such playlist"),
        ("algotorial", {"history": [], "pool": {"places": 3}}, 422, "pool: places: no such key; there are title"),
        ("algotorial", {"history": [], "pool": {"contents": []}}, 422, "pool: contents: the pool is empty"),
        ("algotorial", {"history": [], "pool": {"contents": ["x"] * 21}}, 422, "pool: contents: 21 entries"),
        ("algotorial", {"history": [], "pool": {"contents": [], "quotas": [{}] * 4}}, 422, "pool: quotas: 4 entries"),
        ("algotorial", {"history": [], "pool": {"contents": ["x"]}}, 422, "pool: row 1: contents: 'x' is not in"),
        ("algotorial", {"history": [], "pool": [1]}, 422, "pool"),
        ("algotorial", {"history": [], "pool": "gone", "today": "soon"}, 422, "today: soon: must be a date"),
    ],
)
def test_refusals(newest_client: TestClient, name: str, question: dict, status: int, said: str) -> None:
    answer = newest_client.post(f"/playlists/{name}", json=question)
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    assert answer.json()["error"].startswith(said), answer.json()
    assert "\n" not in answer.json()["error"]


def test_an_unpaired_surrogate_is_an_unknown_id(newest_client: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    for body in (rb'{"users": ["\ud800"]}', rb'{"contents": ["\ud800"]}', rb'{"pool": {"contents": ["\ud800"]}}'):
        told = newest_client.post("/playlists/algotorial", content=body, headers=headers)
        assert told.status_code in (404, 422), told.text


def test_an_export_without_playlists_has_no_pools(client: TestClient) -> None:
    assert client.get("/pools").json()["items"] == []
    assert client.get("/pools/gone").status_code == 404
    assert client.get("/playlists/mix?user=u0&users=u1").json()["error"].startswith("users: no such field")


def test_a_journey_leads_to_a_region_that_the_kinds_name() -> None:
    golden = Path(__file__).parents[1] / "golden" / "format-4" / "export"
    snapshot = Snapshot.open(golden, AudioFolder(None))
    live = Live(golden, lambda _: snapshot, 60.0)
    with TestClient(create_app(lambda: live, LIMITS, 4)) as client:
        regions = client.get("/playlists").json()["regions"]
        assert regions == list(snapshot.export.regions.names)
        user = snapshot.export.user_ids[0]
        told = client.get("/playlists/journey", params={"user": user, "to": regions[1], "k": 4}).json()
        assert told["facts"]["region"] == regions[1]
        assert len(told["items"]) == 4
        assert told == client.post("/playlists/journey", json={"users": [user], "to": regions[1], "k": 4}).json()
        refused = client.get("/playlists/journey", params={"user": user, "to": "nowhere"})
        assert refused.status_code == 422
        assert refused.json()["error"].startswith("to: 'nowhere': no content with this id or title, and no such region")
