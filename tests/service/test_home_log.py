"""The log of the home page: each row once under any kill, in the raw contract's own form."""

import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import environment
from tests.data import raw_set
from towers.contract.durations import MINUTE_US
from towers.contract.impressions import IMPRESSION_SCHEMA, Impression
from towers.errors import UserError
from towers.policies.bandit.satiation import HALVED_US
from towers.service import home_log
from towers.service.home_log import CardIds, HomeLog, Outcome, ToldAlready, UnknownRequest

NOW_US = 1_767_960_000_000_000
IDS = CardIds(["a", "b", "c", "d"])
PLACES = {one: place for place, one in enumerate(IDS)}


def row(request_id="r1", slot=0, chosen_id="a", timestamp_us=NOW_US, user_id="ann"):
    return Impression(
        request_id=request_id, user_id=user_id, timestamp_us=timestamp_us, chosen_id=chosen_id, slot=slot,
        shelf="picked", propensity=0.25, policy_id="p", space_id="s",
    )  # fmt: skip


def show(log, *rows):
    log.show(rows, IDS, [np.packbits([True, True, False, True]).tobytes()] * len(rows))


def written(log):
    parts = sorted((log.folder / "impressions").glob("*.parquet"))
    return pa.concat_tables([IMPRESSION_SCHEMA.empty_table(), *map(pq.read_table, parts)])


@pytest.fixture
def log(tmp_path):
    made = HomeLog(tmp_path / "log")
    yield made
    made.close()


class TestRows:
    def test_a_row_is_written_with_its_outcome(self, log):
        show(log, row(), row(slot=1, chosen_id="b"))
        assert log.write_parts(NOW_US) == 0
        slot = log.tell(Outcome(request_id="r1", content_id="b", played_ms=40_000, skipped=False), NOW_US + MINUTE_US)
        assert (slot, log.write_parts(NOW_US + 2 * MINUTE_US)) == (1, 1)
        assert written(log).schema == IMPRESSION_SCHEMA
        (found,) = written(log).to_pylist()
        assert found == {
            "request_id": "r1", "user_id": "ann", "timestamp": found["timestamp"], "candidate_ids": ["a", "b", "d"],
            "chosen_id": "b", "slot": 1, "shelf": "picked", "propensity": 0.25, "policy_id": "p", "space_id": "s",
            "clicked": None, "played_ms": 40_000, "skipped": False, "finished": None, "saved": None,
        }  # fmt: skip
        assert int(found["timestamp"].timestamp() * 1e6) == NOW_US

    def test_or_when_its_wait_is_over(self, log):
        show(log, row(), row(slot=1, chosen_id="b"))
        assert log.write_parts(NOW_US + 29 * MINUTE_US) == 0
        assert log.write_parts(NOW_US + 30 * MINUTE_US) == 2
        assert log.write_parts(NOW_US + 90 * MINUTE_US) == 0
        assert written(log)["slot"].to_pylist() == [0, 1]
        with pytest.raises(UnknownRequest):
            log.tell(Outcome(request_id="r1", slot=0, clicked=True), NOW_US + 31 * MINUTE_US)

    def test_or_where_everything_is_asked_for(self, log):
        show(log, row())
        assert log.write_parts(NOW_US, everything=True) == 1
        with pytest.raises(UnknownRequest, match="slot 0 is none of its 1 that wait"):
            log.tell(Outcome(request_id="r1", slot=0, clicked=True), NOW_US)
        assert written(log)["clicked"].to_pylist() == [None]

    def test_many_rows_come_in_several_parts(self, log, monkeypatch):
        monkeypatch.setattr(home_log, "AT_ONCE", 3)
        show(log, *(row(slot=slot) for slot in range(8)))
        assert log.write_parts(NOW_US, everything=True) == 8
        assert sorted(written(log)["slot"].to_pylist()) == list(range(8))
        assert len([*(log.folder / "impressions").glob("*.parquet")]) == 3

    def test_a_page_is_kept_whole_or_not_at_all(self, log):
        show(log, row())
        with pytest.raises(Exception, match="UNIQUE"):
            show(log, row(request_id="r2"), row())
        assert log.write_parts(NOW_US, everything=True) == 1
        assert written(log)["request_id"].to_pylist() == ["r1"]


class TestOutcomes:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"request_id": "what", "slot": 0}, "request 'what': no page of this id was shown in the last 1800 s"),
            ({"request_id": "r1", "slot": 7}, "request r1: slot 7 is none of its 2 that wait for an outcome"),
            ({"request_id": "r1", "content_id": "c"}, "content_id 'c' is none of its 2"),
            ({"request_id": "r1", "slot": 0, "content_id": "b"}, "content_id 'b': slot 0 of request r1 showed 'a'"),
        ],
    )
    def test_of_what_was_not_shown(self, log, given, said):
        show(log, row(), row(slot=1, chosen_id="b"))
        with pytest.raises(UnknownRequest, match=said) as refused:
            log.tell(Outcome(**given, clicked=True), NOW_US)
        assert "\n" not in str(refused.value)
        log.write_parts(NOW_US, everything=True)
        assert written(log)["clicked"].to_pylist() == [None, None]

    def test_twice(self, log):
        show(log, row())
        log.tell(Outcome(request_id="r1", slot=0, saved=True), NOW_US)
        for _ in range(2):
            with pytest.raises(ToldAlready, match="request r1, slot 0: its outcome was told before"):
                log.tell(Outcome(request_id="r1", slot=0, clicked=True, saved=False), NOW_US)
            log.write_parts(NOW_US)  # written or not
        assert written(log).select(["clicked", "saved"]).to_pylist() == [{"clicked": None, "saved": True}]


class TestSatiation:
    def test_what_is_shown_tires_and_a_stream_refreshes(self, log):
        show(log, row(), row(slot=1, chosen_id="b"))
        show(log, row(request_id="r2", timestamp_us=NOW_US + HALVED_US))
        found = np.expm1(log.satiation("ann", PLACES, NOW_US + 2 * HALVED_US))
        assert found.tolist() == pytest.approx([(1 / 2 + 1) / 2, 1 / 4, 0, 0])
        log.tell(Outcome(request_id="r2", slot=0, played_ms=30_000), NOW_US + HALVED_US)
        assert log.satiation("ann", PLACES, NOW_US + 2 * HALVED_US)[0] == 0
        assert log.satiation("ben", PLACES, NOW_US).tolist() == [0, 0, 0, 0]

    def test_what_has_faded_is_forgotten(self, log):
        show(log, row())
        log.write_parts(NOW_US + 9 * HALVED_US)
        assert log.satiation("ann", PLACES, NOW_US).tolist() == [0, 0, 0, 0]


class TestEndings:
    def test_two_processes_share_it(self, log):
        other = HomeLog(log.folder)
        show(log, row())
        other.tell(Outcome(request_id="r1", slot=0, clicked=True), NOW_US)
        show(other, row(request_id="r2"))
        assert (log.write_parts(NOW_US), other.write_parts(NOW_US)) == (1, 0)
        other._database.close()
        assert log.write_parts(NOW_US, everything=True) == 1

    def test_what_waits_is_there_after_a_restart(self, tmp_path):
        first = HomeLog(tmp_path / "log")
        show(first, row(), row(slot=1, chosen_id="b", timestamp_us=NOW_US))
        first.tell(Outcome(request_id="r1", slot=1, clicked=True), NOW_US)
        first._database.close()  # as a kill leaves it
        again = HomeLog(tmp_path / "log")
        again.tell(Outcome(request_id="r1", slot=0, clicked=False), NOW_US)
        assert again.write_parts(NOW_US) == 2
        again.close()

    @pytest.mark.parametrize("is_there", [False, True])
    def test_a_part_that_was_begun_is_finished_once(self, tmp_path, monkeypatch, is_there):
        """The process is killed after the rows were named, before or after the part was written."""
        first = HomeLog(tmp_path / "log")
        show(first, row())
        write = HomeLog._write

        def killed(self, part):
            if is_there:
                write(self, part)
                self._database.execute("UPDATE shown SET is_written = 0")
            raise KeyboardInterrupt

        monkeypatch.setattr(HomeLog, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            first.write_parts(NOW_US, everything=True)
        monkeypatch.setattr(HomeLog, "_write", write)
        again = HomeLog(tmp_path / "log")
        again.write_parts(NOW_US)
        assert written(again)["request_id"].to_pylist() == ["r1"]
        again.close()
        first.close()

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "log").write_text("")
        with pytest.raises(UserError, match="the log cannot be opened"):
            HomeLog(tmp_path / "log")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "open.sqlite").write_bytes(b"no database at all" * 100)
        with pytest.raises(UserError, match="the log cannot be opened"):
            HomeLog(tmp_path / "other")


def test_prepare_reads_the_log_as_it_is(tmp_path, make_builder):
    """The folder of the log is the raw contract's table."""
    raw = tmp_path / "raw"
    raw_set.write_events(raw, raw_set.EVENTS)
    raw_set.write_part(raw, "users", pa.Table.from_pylist(raw_set.USERS))
    log = HomeLog(raw)
    show(log, row(), row(slot=1, chosen_id="b"))
    log.tell(Outcome(request_id="r1", slot=1, played_ms=5), NOW_US)
    log.write_parts(NOW_US)
    log.write_parts(NOW_US, everything=True)
    expected = written(log)
    log.close()
    store = make_builder(raw, tmp_path / "stores").build()[0]
    found = store.impressions.to_table().sort_by("slot")
    assert found.equals(expected.sort_by("slot"))
    assert found["played_ms"].to_pylist() == [None, 5]


SHOWING = """
import sys, time
from pathlib import Path
import numpy as np
from tests.service.test_home_log import NOW_US, row, show
from towers.service.home_log import HomeLog, Outcome

log = HomeLog(Path(sys.argv[1]))
for number in range(100_000):
    show(log, row(request_id=f"r{number}"), row(request_id=f"r{number}", slot=1, chosen_id="b"))
    if number % 2:
        log.tell(Outcome(request_id=f"r{number}", slot=0, clicked=True), NOW_US)
    if number % 5 == 0:
        log.write_parts(NOW_US)
    print(number, flush=True)
"""


@pytest.mark.unhooked
def test_a_kill_loses_nothing_and_doubles_nothing(tmp_path):
    folder = tmp_path / "log"
    command = [sys.executable, "-c", SHOWING, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(23)]
        os.kill(process.pid, signal.SIGKILL)
        last = int([*told, *process.stdout.readlines()][-1])
    log = HomeLog(folder)
    log.write_parts(NOW_US, everything=True)
    keys = [(one["request_id"], one["slot"]) for one in written(log).to_pylist()]
    log.close()
    assert len(keys) == len({*keys})
    assert {*keys} >= {(f"r{number}", slot) for number in range(last + 1) for slot in (0, 1)}
    clicked = {one["request_id"] for one in written(log).to_pylist() if one["clicked"]}
    assert clicked >= {f"r{number}" for number in range(1, last + 1, 2)}
