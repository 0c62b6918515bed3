"""A listener is removed from a home page's log: no byte of the id is left, and all other listeners are logged as
before.
"""

from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest

from tests.lifecycle.naming import naming
from tests.service.test_home_log import MINUTE_US, NOW_US, row, show, written
from towers.errors import UserError
from towers.lifecycle import forgetting_home
from towers.lifecycle.forgetting_home import clear_log, logged
from towers.service.home_log import HomeLog, Outcome, UnknownRequest

GONE = "gone-listener"


@pytest.fixture
def log(tmp_path):
    """A log of two listeners, each with a page in a part and one that waits; the server holds it open."""
    made = HomeLog(tmp_path / "log")
    for user_id in ("ann", GONE):
        request_id = f"early-{user_id}"
        show(made, row(request_id, user_id=user_id), row(request_id, 1, "b", user_id=user_id))
    made.tell(Outcome(request_id="early-ann", slot=1, clicked=True), NOW_US)
    assert made.write_parts(NOW_US) == 1
    assert made.write_parts(NOW_US + 31 * MINUTE_US) == 3
    for user_id in ("ann", GONE):
        show(made, row(f"late-{user_id}", 0, "d", NOW_US + 32 * MINUTE_US, user_id))
    yield made
    made.close()


def files(folder: Path) -> dict[str, bytes]:
    """Reads all files but the index of the write-ahead log, in which readers mark their place."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_what_is_there_is_told_and_stays(log):
    before = files(log.folder)
    told = logged(log.folder, [GONE]).told
    assert told == "1 rows that wait or were just written, 3 cards they are tired of, 2 rows of 1 parts"
    assert logged(log.folder, ["nobody"]).told == ""
    assert files(log.folder) == before


def test_of_a_server_that_has_ended(tmp_path):
    log = HomeLog(tmp_path / "log")
    show(log, row(user_id=GONE))
    log.close()
    before = files(log.folder)
    assert logged(log.folder, [GONE]).told == "1 rows of 1 parts"
    assert files(log.folder) == before
    clear_log(log.folder, [GONE])
    assert naming(log.folder, GONE) == []


def test_not_a_byte_stays_while_the_server_runs(log):
    others = [one for one in written(log).to_pylist() if one["user_id"] == "ann"]
    names = {path.name for path in (log.folder / "impressions").iterdir()}
    assert naming(log.folder, GONE)
    clear_log(log.folder, [GONE])
    assert naming(log.folder, GONE) == []
    assert logged(log.folder, [GONE]).told == ""
    assert written(log).to_pylist() == others
    assert {path.name for path in (log.folder / "impressions").iterdir()} == names
    part = next((log.folder / "impressions").glob("*.parquet"))
    assert pq.ParquetFile(part).metadata.row_group(0).column(0).compression == "ZSTD"
    with pytest.raises(UnknownRequest):
        log.tell(Outcome(request_id=f"late-{GONE}", slot=0, clicked=True), NOW_US + 33 * MINUTE_US)
    log.tell(Outcome(request_id="late-ann", slot=0, clicked=True), NOW_US + 33 * MINUTE_US)
    assert log.write_parts(NOW_US + 34 * MINUTE_US) == 1
    assert written(log)["request_id"].to_pylist() == ["early-ann", "early-ann", "late-ann"]


def test_rows_that_a_killed_server_has_named_for_a_part_do_not_come_back(log, monkeypatch):
    def killed(self, part):
        raise KeyboardInterrupt

    monkeypatch.setattr(HomeLog, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        log.write_parts(NOW_US, everything=True)
    monkeypatch.undo()
    clear_log(log.folder, [GONE])
    assert log.write_parts(NOW_US, everything=True) == 1
    assert naming(log.folder, GONE) == []
    assert "late-ann" in written(log)["request_id"].to_pylist()


def test_killed_between_parts_and_database_and_run_again(log, monkeypatch):
    def killed(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(forgetting_home, "_clear_database", killed)
    with pytest.raises(KeyboardInterrupt):
        clear_log(log.folder, [GONE])
    monkeypatch.undo()
    assert "rows of" not in logged(log.folder, [GONE]).told.replace("rows that", "")
    clear_log(log.folder, [GONE])
    assert naming(log.folder, GONE) == []


def test_nothing_is_lost_while_pages_are_shown_and_parts_written(log):
    """A server shows and writes as fast as it can, and removals happen over and over meanwhile."""
    pages, is_over = [], []

    def serving():
        while not is_over:
            pages.append(f"page-{len(pages)}")
            show(log, row(pages[-1], user_id="ann"), row(pages[-1], 1, "b", user_id=GONE))
            log.tell(Outcome(request_id=pages[-1], slot=0, clicked=True), NOW_US)
            log.write_parts(NOW_US)

    server = Thread(target=serving)
    server.start()
    for _ in range(8):
        clear_log(log.folder, [GONE])
    is_over.append(True)
    server.join()
    log.write_parts(NOW_US, everything=True)
    clear_log(log.folder, [GONE])
    rows = written(log).to_pylist()
    assert {one["user_id"] for one in rows} == {"ann"}
    assert sorted(one["request_id"] for one in rows if one["request_id"].startswith("page")) == sorted(pages)
    assert naming(log.folder, GONE) == []


def test_what_is_no_log(tmp_path):
    with pytest.raises(UserError, match="no log of a home page here"):
        logged(tmp_path, [GONE])
    (tmp_path / "open.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match="cannot be read or changed"):
        logged(tmp_path, [GONE])
