"""A server's notes about itself when disks are full, files vanish, links lead nowhere and requests break off."""

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest

from tests.service.conftest import app_of
from tests.service.test_metrics import served
from towers.errors import UserError
from towers.retrieval.export import Export
from towers.service.audio import AudioFolder
from towers.service.edge import Edge
from towers.service.live import Live
from towers.service.metrics import FILES, _make_room
from towers.service.roster import Roster
from towers.service.server import roster_of
from towers.service.snapshot import Snapshot


def test_what_could_not_be_noted_is_noted_by_a_later_beat(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.tell(served("v1", 1.0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30, before[1]))
    try:
        roster.tell(served("v2", 2.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert roster.processes()[os.getpid()][0].version == "v1"
    roster.beat()
    assert roster.processes()[os.getpid()][0].version == "v2"


def test_a_file_that_was_cleaned_away_is_written_anew(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.tell(served("v1", 1.0))
    (file,) = tmp_path.iterdir()
    assert abs(file.stat().st_mtime - time.time()) < 60  # nothing that looks old
    file.unlink()
    roster.beat()
    assert set(roster.processes()) == {os.getpid()}


def test_room_for_counters_is_taken_or_refused(tmp_path: Path) -> None:
    _make_room(tmp_path)
    assert all(path.stat().st_blocks * 512 >= path.stat().st_size for path in tmp_path.iterdir())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == sum(FILES.values())
    for path in tmp_path.iterdir():
        path.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"needs 3.3 MB there for each of workers"):
            _make_room(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_link_to_itself_does_not_end_the_watching(small: Export, tmp_path: Path) -> None:
    current, refused, looks = tmp_path / "current", [], []
    current.symlink_to(small.folder)
    live = Live(current, lambda folder: Snapshot.open(folder, AudioFolder(None)), 60.0)
    live.on_refusal.append(lambda: refused.append(1))
    live.on_look.append(lambda: looks.append(1))
    current.unlink()
    current.symlink_to("current")
    assert not live.look()
    assert not live.look()
    assert (len(refused), len(looks)) == (1, 2)


def test_a_body_that_breaks_off_is_not_answered(small: Export) -> None:
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive() -> dict:
        return next(messages)

    async def send(message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/embed", "headers": []}
    asyncio.run(Edge(app_of(small.folder), 100)(scope, receive, send))
    assert sent[0]["status"] == 499


def test_a_machine_without_a_scratch_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(UserError, match="No usable temporary directory found; workers=2 needs"), roster_of(2):
        pass
