"""`current` moves while clients ask: none of them notices, and a broken version is never served."""

import gc
import logging
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from tests.service.conftest import GOLDEN, app_of
from towers.errors import UserError
from towers.manifest import point_to
from towers.retrieval.export import Export
from towers.retrieval.query import Query
from towers.retrieval.search import recommend
from towers.service import answers
from towers.service.audio import AudioFolder
from towers.service.live import LOG, Live
from towers.service.playlist_answers import playlist
from towers.service.playlist_questions import ListQuestion
from towers.service.questions import EmbedContentQuestion, Question, RecommendQuestion, SimilarQuestion
from towers.service.server import bound
from towers.service.snapshot import Snapshot

WHOLE = GOLDEN.parents[1] / "format-4" / "export"
SWITCHES, CLIENTS = 20, 4


@contextmanager
def listening(app) -> Iterator[str]:
    """Runs uvicorn in a thread and yields its address."""
    with bound("127.0.0.1", 0) as socket:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


def live_on(link: Path) -> Live:
    return Live(link, lambda folder: Snapshot.open(folder, AudioFolder(None)), 60.0)


@pytest.fixture
def versions(make_version: Callable[..., Export]) -> tuple[Path, Path, Path]:
    """The link `current`, pointing to the first of two versions, and both versions."""
    first, second = make_version("v1").folder, make_version("v2").folder
    current = first.parent / "current"
    point_to(current, first)
    return current, first, second


def test_no_request_fails_while_the_link_moves(versions: tuple[Path, Path, Path]) -> None:
    current, *both = versions
    answers: list[tuple[int, str, bool]] = []
    stopped = threading.Event()

    def ask(address: str) -> None:
        with httpx2.Client(base_url=address) as client:
            while not stopped.is_set():
                response = client.get("/recommend", params={"user": "u0"})
                answer = response.json()
                is_whole = {item["content"]["title"].split()[-1] for item in answer["items"]} == {answer["version"]}
                answers.append((response.status_code, answer["version"], is_whole))

    with listening(app_of(current, watch_s=0.01)) as address:
        clients = [threading.Thread(target=ask, args=(address,)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        for switch in range(1, SWITCHES + 1):
            target = both[switch % 2]
            point_to(current, target)
            deadline = time.monotonic() + 10
            while httpx2.get(f"{address}/version").json()["version"] != target.name:
                assert time.monotonic() < deadline, f"switch {switch} was not noticed"
                time.sleep(0.005)
        stopped.set()
        for client in clients:
            client.join(timeout=10)
    assert {status for status, _, _ in answers} == {200}
    assert {version for _, version, _ in answers} == {"v1", "v2"}
    assert all(is_whole for _, _, is_whole in answers)  # no answer mixes two versions
    assert len(answers) > SWITCHES


def damage_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text() + " ")


def lose_vectors(folder: Path) -> None:
    (folder / "content_vectors.npy").unlink()


def cut_contents(folder: Path) -> None:
    whole = (folder / "contents.parquet").read_bytes()
    (folder / "contents.parquet").write_bytes(whole[: len(whole) // 2])


def mix_spaces(folder: Path) -> None:
    (folder / "index" / "space_id").write_text("another")


@pytest.mark.parametrize("spoil", [shutil.rmtree, damage_manifest, lose_vectors, cut_contents, mix_spaces])
def test_a_broken_version_is_refused_in_a_line(
    versions: tuple[Path, Path, Path], spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[logging.LogRecord] = []
    told = logging.Handler()
    told.emit = records.append
    monkeypatch.setattr(LOG, "handlers", [told])
    current, first, second = versions
    live = live_on(current)
    before = live.snapshot
    spoil(second)
    current.unlink()
    current.symlink_to(second.name)
    assert not live.look()
    assert not live.look()  # not tried, nor said, again at once
    (record,) = records
    assert "refused" in record.getMessage()
    assert "still serving v1" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert live.snapshot is before
    point_to(current, first)
    assert not live.look()
    assert live.snapshot is before


def test_a_version_that_was_refused_is_tried_again(
    versions: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    current, _, second = versions
    live = live_on(current)
    whole = (second / "contents.parquet").read_bytes()
    cut_contents(second)
    point_to(current, second)
    assert not live.look()
    (second / "contents.parquet").write_bytes(whole)
    monkeypatch.setattr("towers.service.live.RETRY_S", 0.0)
    assert live.look()
    assert live.snapshot.version == "v2"


def test_what_was_served_outlives_its_folder(versions: tuple[Path, Path, Path]) -> None:
    current, first, _ = versions
    live = live_on(current)
    shutil.rmtree(first)
    snapshot = live.snapshot
    assert snapshot.map.json(10)
    assert recommend(snapshot.export, snapshot.export.user_vectors[0], Query(k=2), None).rows.tolist() == [0, 1]


def asked_of(snapshot: Snapshot) -> list[str]:
    """Returns an answer of every kind, or the error where this data does not allow it."""
    users, tracks = snapshot.export.user_ids[:2], snapshot.export.content_ids[:2]
    asked: list[tuple[Callable[[Snapshot, Any], str], type[Question], dict[str, Any]]] = [
        (answers.recommend, RecommendQuestion, {"history": tracks[:1]}),
        (answers.recommend, RecommendQuestion, {"user": users[0], "familiar": 0.5}),
        (answers.similar, SimilarQuestion, {"content": tracks[0]}),
        (answers.embed_content, EmbedContentQuestion, {"metadata": {"genres": ["folk"]}}),
    ]
    for kind in ("discover_weekly", "mix", "on_repeat"):
        asked.append((partial(list_of, kind), ListQuestion, {"users": users[:1]}))
    for kind in ("radio", "continuation", "arithmetic"):
        asked.append((partial(list_of, kind), ListQuestion, {"contents": tracks[:1]}))
    told = []
    for answer, question, given in asked:
        try:
            told.append(answer(snapshot, question.model_validate(given)))
        except UserError as error:
            told.append(f"declined: {error}")
    return told


def list_of(kind: str, snapshot: Snapshot, question: ListQuestion) -> str:
    return playlist(snapshot, kind, question)


def test_a_whole_version_answers_as_ever_once_its_folder_is_gone(tmp_path: Path) -> None:
    """This happens when a version is forgotten, and removed before its servers look at the link again."""
    shutil.copytree(WHOLE, tmp_path / "export")
    snapshot = Snapshot.open(tmp_path / "export", AudioFolder(None))
    shutil.rmtree(tmp_path / "export")
    told = asked_of(snapshot)
    assert told == asked_of(Snapshot.open(WHOLE, AudioFolder(None)))
    assert sum(not answer.startswith("declined") for answer in told) > 8


def test_a_version_that_was_swapped_is_let_go(versions: tuple[Path, Path, Path]) -> None:
    current, _, second = versions
    live = live_on(current)
    live.snapshot.map.json(3)
    before = weakref.ref(live.snapshot.export)
    gc.disable()  # at once, and not when the collector gets to it
    try:
        point_to(current, second)
        assert live.look()
        assert before() is None
    finally:
        gc.enable()


def test_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no export here"):
        live_on(tmp_path / "current")
