"""`/home` and `/outcome`: pages that are logged as they are shown, and the listeners' outcomes, once."""

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from tests.policies.bandit.homes import MEMBERS, SHELVES, home_export
from tests.service.conftest import LIMITS
from tests.service.test_live import listening
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.errors import UserError
from towers.manifest import point_to
from towers.policies.bandit.home import Shelf, Shelves
from towers.policies.bandit.policy_file import roll_back, write_policy
from towers.policies.bandit.uniform import Uniform
from towers.service import home_shapes as shapes
from towers.service.app import create_app
from towers.service.audio import AudioFolder
from towers.service.home_live import LOG, HomeSettings, LiveHome
from towers.service.live import Live
from towers.service.snapshot import Snapshot
from towers.service.write_guard import WriteGuard, is_of_this_machine


def written_policy(folder: Path, name: str, space_id: str = "space", slots: int = 4) -> Path:
    return write_policy(folder, Uniform(slots=slots, policy_id=name), space_id=space_id, update=0, learned_from={})


class Place:
    """An export, a policy and a log in a folder, and the applications over them."""

    def __init__(self, folder: Path):
        self.folder, self.policy, self.log = folder, folder / "policies" / "home", folder / "log"
        self.current = folder / "exports" / "current"
        point_to(self.current, home_export(folder / "exports").folder)
        written_policy(self.policy, "first")

    def settings(self, **changes) -> HomeSettings:
        given = {"policy": self.policy, "log": self.log, "token": None, "cards": None, "shelves": Shelves(SHELVES)}
        return HomeSettings(**given | changes)

    def live(self, watch_s: float = 60.0) -> Live:
        return Live(self.current, lambda found: Snapshot.open(found, AudioFolder(None)), watch_s)

    def app(self, watch_s: float = 60.0, **changes):
        return create_app(lambda: self.live(watch_s), LIMITS, 4, self.settings(**changes))

    def rows(self) -> list[dict]:
        parts = sorted((self.log / "impressions").glob("*.parquet"))
        return pa.concat_tables([IMPRESSION_SCHEMA.empty_table(), *map(pq.read_table, parts)]).to_pylist()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def cards_of(page: dict) -> list[dict]:
    return [item for shelf in page["shelves"] for item in shelf["items"]]


class TestPages:
    def test_a_page(self, place: Place) -> None:
        with TestClient(place.app()) as client:
            answer = client.get("/home", params={"user": "u0"})
            assert answer.status_code == 200, answer.text
            shapes.HomePage.model_validate_json(answer.text, strict=True, extra="forbid")
            page = answer.json()
        assert (page["policy_id"], page["policy_version"], page["space_id"]) == ("first", "000001", "space")
        assert [shelf["title"] for shelf in page["shelves"]] == ["Picked for you", "Podcasts", "Artists"]
        cards = cards_of(page)
        assert [card["slot"] for card in cards] == list(range(len(cards)))
        ids = [card["content"]["content_id"] for card in cards]
        assert len({*ids}) == len(ids) >= 4
        assert [card["propensity"] for card in page["shelves"][0]["items"]] == pytest.approx([1 / 6, 1 / 5])
        reasons = {card["content"]["content_id"]: [why["text"] for why in card["reasons"]] for card in cards}
        assert any("which you played" in text for texts in reasons.values() for text in texts)

    def test_the_log_has_what_was_shown(self, place: Place) -> None:
        with TestClient(place.app()) as client:
            page = client.get("/home", params={"user": "u0"}).json()
            card = cards_of(page)[1]
            told = {"request_id": page["request_id"], "slot": 1, "played_ms": 40_000, "clicked": True}
            answer = client.post("/outcome", json=told)
            assert answer.json() == {"request_id": page["request_id"], "slot": 1}
        (row,) = place.rows()  # at the end of the server what has its outcome is written
        assert (row["chosen_id"], row["propensity"], row["slot"]) == (
            card["content"]["content_id"], card["propensity"], 1,
        )  # fmt: skip
        assert (row["user_id"], row["shelf"], row["space_id"]) == ("u0", "picked", "space")
        assert row["policy_id"] == "first@000001"
        assert (row["clicked"], row["played_ms"], row["saved"]) == (True, 40_000, None)
        assert {*row["candidate_ids"]} == {"a0", "a1", *MEMBERS, "e0", "e1"}
        with TestClient(place.app()) as client:  # the others wait on
            told = {"request_id": page["request_id"], "content_id": cards_of(page)[0]["content"]["content_id"]}
            assert client.post("/outcome", json=told | {"skipped": True}).status_code == 200
        assert [row["slot"] for row in place.rows()] == [1, 0]

    def test_a_page_that_is_looked_at_is_not_logged(self, place: Place) -> None:
        with TestClient(place.app()) as client:
            page = client.get("/home", params={"user": "u0", "look": True}).json()
        assert page["request_id"] is None
        live = LiveHome(place.settings(), place.live())
        assert live.log is not None
        assert live.log.write_parts(everything=True) == 0
        live.log.close()

    def test_without_a_log(self, place: Place) -> None:
        with TestClient(place.app(log=None)) as client:
            assert client.get("/home", params={"user": "u0"}).json()["request_id"] is None
            said = client.post("/outcome", json={"request_id": "r", "slot": 0, "clicked": True})
        assert (said.status_code, said.json()["error"]) == (
            422, "outcome: nothing is logged here; start the server with home.log=FOLDER",
        )  # fmt: skip

    def test_without_a_home_page(self, place: Place) -> None:
        with TestClient(create_app(place.live, LIMITS, 4)) as client:
            assert client.get("/home", params={"user": "u0"}).status_code == 404

    def test_it_is_drawn_from_its_request_id(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        one = type("Id", (), {"hex": "0" * 31 + "7"})
        monkeypatch.setattr("towers.service.home_answers.uuid.uuid4", lambda: one)
        with TestClient(place.app(log=None)) as client:
            pages = [cards_of(client.get("/home", params={"user": "u0"}).json()) for _ in range(3)]
        assert pages[0] == pages[1] == pages[2]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of one server for all refused requests."""
    with TestClient(Place(tmp_path_factory.mktemp("refusals")).app()) as asking:
        yield asking


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "status", "said"),
        [
            ("/home", 422, "user: "),
            ("/home?user=who", 404, "user 'who': no such listener"),
            ("/home?user=u0&k=3", 422, "k: no such field"),
            ("/home?user=u0&look=perhaps", 422, "look: "),
            ("/outcome", 405, "Method Not Allowed"),
        ],
    )
    def test_get(self, client: TestClient, path: str, status: int, said: str) -> None:
        self.check(client.get(path), status, said)

    @pytest.mark.parametrize(
        ("body", "status", "said"),
        [
            ({}, 422, "request_id: "),
            ({"slot": 0}, 422, "slot: give the slot of the card, or its content_id"),
            ({"slot": 0, "content_id": None}, 422, "outcome: says nothing; give clicked"),
            ({"slot": 99, "clicked": True}, 404, "request "),
            ({"slot": 0, "content_id": "t0", "clicked": True}, 404, "content_id 't0': slot 0 of request"),
            ({"slot": -1, "clicked": True}, 422, "slot: "),
            ({"slot": 0, "played_ms": -1}, 422, "played_ms: "),
            ({"slot": 0, "played_ms": 2**63}, 422, "played_ms: "),
            ({"slot": 0, "clicked": "perhaps"}, 422, "clicked: "),
            ({"slot": 0, "click": True}, 422, "click: no such field; did you mean clicked?"),
            ({"request_id": "unknown", "slot": 0, "clicked": True}, 404, "request 'unknown': no page of this id"),
        ],
    )
    def test_outcomes_leave_the_log_as_it_is(self, client: TestClient, body: dict, status: int, said: str) -> None:
        page = client.get("/home", params={"user": "u0"}).json()
        if body and body != {"slot": 0}:
            body = {"request_id": page["request_id"], **body}
        elif body:
            body = {"request_id": page["request_id"], "clicked": True}
        self.check(client.post("/outcome", json=body), status, said)
        told = {"request_id": page["request_id"], "slot": 0, "clicked": False}
        assert client.post("/outcome", json=told).status_code == 200  # it still waits

    def test_an_outcome_twice(self, place: Place) -> None:
        with TestClient(place.app()) as client:
            page = client.get("/home", params={"user": "u0"}).json()
            told = {"request_id": page["request_id"], "slot": 0}
            assert client.post("/outcome", json=told | {"clicked": True}).status_code == 200
            self.check(client.post("/outcome", json=told | {"clicked": False}), 409, "request ")
        assert [row["clicked"] for row in place.rows()] == [True]

    def check(self, response, status: int, said: str) -> None:
        assert response.status_code == status, response.text
        answer = response.json()
        assert list(answer) == ["error"]
        assert answer["error"].startswith(said), answer
        assert "\n" not in answer["error"]


class TestWriters:
    def test_a_write_needs_the_token(self, place: Place) -> None:
        right = {"Authorization": "Bearer open sesame"}
        with TestClient(place.app(token="open sesame")) as client:
            for headers in ({}, {"Authorization": "Bearer open"}, {"Authorization": "open sesame"}):
                for answer in (
                    client.get("/home?user=u0", headers=headers),
                    client.get("/home?user=u0&look=true&look=false", headers=headers),
                    client.post("/outcome", json={}, headers=headers),
                ):
                    assert answer.status_code == 401
                    assert answer.json()["error"].startswith("token: ")
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert client.get("/home?user=u0&look=true").status_code == 200
            assert client.get("/health").status_code == 200
            page = client.get("/home?user=u0", headers=right).json()
            told = {"request_id": page["request_id"], "slot": 0, "clicked": True}
            assert client.post("/outcome", json=told).status_code == 401
            assert client.post("/outcome", json=told, headers=right).status_code == 200

    def test_a_body_that_is_too_long_is_not_read(self, place: Place) -> None:
        with TestClient(place.app(max_outcome_bytes=100)) as client:
            answer = client.post("/outcome", content=b" " * 101)
            assert (answer.status_code, answer.json()["error"]) == (413, "body: must be at most 100 bytes")
            assert client.post("/outcome", content=iter([b" " * 60] * 2)).status_code == 413
            assert client.post("/embed", content=b" " * 101).status_code == 422  # other bodies may be longer

    def test_a_flood_is_refused_unread(self, place: Place) -> None:
        with TestClient(place.app(max_writes_per_s=2.0)) as client:
            found = [client.post("/outcome", content=b"x" * 50).status_code for _ in range(12)]
            assert found[:4] == [422] * 4
            assert found[-1] == 429
            assert client.get("/home?user=u0&look=true").status_code == 200
            assert client.get("/home?user=u0").status_code == 429

    def test_room_comes_back(self) -> None:
        now = [0.0]
        guard = WriteGuard(None, 2.0, 10, clock=lambda: now[0])
        scope = {"type": "http", "path": "/outcome", "method": "POST", "headers": []}
        assert [guard.refusal(scope) is None for _ in range(5)] == [True] * 4 + [False]
        now[0] = 0.5
        assert [guard.refusal(scope) is None for _ in range(2)] == [True, False]

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "radio.example"])
    def test_hosts_that_others_reach(self, host: str) -> None:
        assert not is_of_this_machine(host)

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
    def test_hosts_of_this_machine(self, host: str) -> None:
        assert is_of_this_machine(host)


class TestVersions:
    def test_no_request_fails_while_the_policy_moves(self, place: Place) -> None:
        answers: list[tuple[int, str, str]] = []
        stopped = threading.Event()

        def ask(address: str) -> None:
            with httpx2.Client(base_url=address) as client:
                while not stopped.is_set():
                    answer = client.get("/home", params={"user": "u0"})
                    told = answer.json()
                    answers.append((answer.status_code, told["policy_version"], told["policy_id"]))

        with listening(place.app(watch_s=0.01)) as address:
            clients = [threading.Thread(target=ask, args=(address,)) for _ in range(2)]
            for client in clients:
                client.start()
            for version in range(2, 7):
                written_policy(place.policy, f"policy {version}")
                self.wait_for(address, f"{version:06d}")
            roll_back(place.policy)
            self.wait_for(address, "000005")
            stopped.set()
            for client in clients:
                client.join(timeout=10)
        assert {status for status, _, _ in answers} == {200}
        names = {"000001": "first"} | {f"{version:06d}": f"policy {version}" for version in range(2, 7)}
        assert all(names[version] == policy_id for _, version, policy_id in answers)

    def wait_for(self, address: str, version: str) -> None:
        deadline = time.monotonic() + 10
        while httpx2.get(f"{address}/home?user=u0&look=true").json()["policy_version"] != version:
            assert time.monotonic() < deadline, f"{version} was not noticed"
            time.sleep(0.005)

    @pytest.mark.parametrize("spoil", ["space", "state", "gone"])
    def test_a_policy_that_does_not_fit_is_refused_in_a_line(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, spoil: str
    ) -> None:
        records: list[logging.LogRecord] = []
        told = logging.Handler()
        told.emit = records.append
        monkeypatch.setattr(LOG, "handlers", [told])
        live = LiveHome(place.settings(log=None), place.live())
        before = live.home
        version = written_policy(place.policy, "second", "other" if spoil == "space" else "space")
        if spoil == "state":
            (version / "state.npz").write_bytes(b"")
        if spoil == "gone":
            shutil.rmtree(place.policy)
        assert not live.look()
        assert not live.look()  # not tried, nor said, again at once
        (record,) = records
        assert "still policy 000001 over v1" in record.getMessage()
        assert "\n" not in record.getMessage()
        assert live.home is before

    def test_an_export_that_moves_takes_its_cards_along(self, place: Place) -> None:
        place_of = place.live()
        live = LiveHome(place.settings(log=None), place_of)
        point_to(place.current, home_export(place.folder / "exports", "v2").folder)
        assert not live.look()
        assert place_of.look()
        assert live.look()
        assert live.home.snapshot.version == "v2"

    def test_numbers_of_cards_are_those_of_the_policys_file(self, place: Place) -> None:
        write_policy(
            place.policy, Uniform(slots=4), space_id="space", update=1, learned_from={}, card_ids=["gone", "e1"]
        )
        home = LiveHome(place.settings(log=None), place.live()).home
        assert dict(zip(home.card_ids, home.cards.numbers.tolist(), strict=True))["e1"] == 1
        assert np.sort(home.cards.numbers).tolist() == [1, 2, 3, 4, 5, 6]

    def test_what_cannot_begin(self, place: Place, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no policy here"):
            LiveHome(place.settings(policy=tmp_path / "nowhere"), place.live())
        long = Shelves([Shelf(name="long", title="Long", slots=9)])
        with pytest.raises(UserError, match=r"home\.shelves: 'long' has 9 slots, and the policy first chooses 4"):
            LiveHome(place.settings(shelves=long), place.live())

    @pytest.mark.parametrize("changes", [{"wait_s": 0.0}, {"max_writes_per_s": -1.0}, {"token": " "}])
    def test_settings_that_cannot_be(self, place: Place, changes: dict) -> None:
        with pytest.raises(ValueError, match=r"must be above 0|is empty"):
            place.settings(**changes)
