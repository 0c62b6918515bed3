"""Raw data as it was on past nights."""

import os
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data import raw_set
from towers.errors import UserError
from towers.lifecycle import replay as replaying
from towers.lifecycle.replay import Replay

DAYS = 7
FIRST, LAST = date(2026, 1, 31), date(2026, 2, 7)
MIDNIGHT = datetime(2026, 2, 5, tzinfo=UTC)
EVENTS = [
    *raw_set.EVENTS,
    ("ann", "early", MIDNIGHT, "play", 1_000, None),
    ("fay", "a1", MIDNIGHT - timedelta(microseconds=1), "play", 1_000, None),
    ("gus", "a1", None, "play", 1_000, None),
]
CONTENTS = [
    {"content_id": "announced", "kind": "track", "release_date": date(2026, 2, 3)},
    {"content_id": "early", "kind": "track", "release_date": date(2026, 2, 6)},
    {"content_id": "unheard", "kind": "track", "release_date": date(2026, 3, 1)},
]
PLAYLISTS = {"playlist_id": ["old", "new", "undated"], "content_ids": [["a1"], ["a2"], ["a3"]],
             "created": [datetime(2026, 1, 1), datetime(2026, 2, 4, 23), None]}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    folder = raw_set.write_raw(tmp_path / "data")
    raw_set.write_events(folder, EVENTS, parts=2)
    raw_set.write_part(folder, "contents", raw_set.content_table([*raw_set.CONTENTS, *CONTENTS]))
    raw_set.write_part(folder, "playlists", pa.table(PLAYLISTS))
    shown = {"request_id": ["r1", "r2"], "user_id": ["hal", "ann"], "timestamp": [raw_set.at(27), raw_set.at(32)]}
    raw_set.write_part(folder, "impressions", pa.table(shown | {"candidate_ids": [["a1"], ["a2"]]}))
    raw_set.write_part(folder, "users", pa.Table.from_pylist([*raw_set.USERS, {"user_id": "fay"}, {"user_id": "hal"}]))
    return folder


def ids(folder: Path, table: str, column: str) -> set[str]:
    return {each for path in (folder / table).rglob("*.parquet") for each in pq.read_table(path)[column].to_pylist()}


def state(folder: Path) -> dict[str, tuple[int, int]]:
    found = {str(path.relative_to(folder)): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


class TestReplay:
    def test_nights_are_calendar_days(self, root, tmp_path):
        replay = Replay(root, tmp_path / "then", DAYS)
        assert replay.nights == [FIRST + timedelta(days=number) for number in range(DAYS + 1)]
        assert replay.nights[-1] == LAST
        assert replay.end_us(4) == int(MIDNIGHT.timestamp()) * 1_000_000  # the end of 4 February
        assert Replay(root, tmp_path / "then", 2, until=date(2026, 2, 4)).nights[0] == date(2026, 2, 2)

    def test_events_of_a_night_are_those_before_its_end(self, root, tmp_path):
        replay = Replay(root, tmp_path / "then", DAYS)
        untimed = [event for event in EVENTS if event[2] is None]
        for night in range(DAYS + 1):
            replay.advance(night)
            tables = [pq.read_table(path) for path in (replay.raw / "events").rglob("*.parquet")]
            found = [(*row.values(),) for row in pa.concat_tables(tables).to_pylist()]
            before = [event for event in EVENTS if event[2] and event[2].timestamp() * 1e6 < replay.end_us(night)]
            assert Counter(found) == Counter(before + untimed)

    def test_lists_hold_what_was_there(self, root, tmp_path):
        replay = Replay(root, tmp_path / "then", DAYS)
        known = {content["content_id"] for content in raw_set.CONTENTS}
        expected = [set(), set(), set(), {"announced"}, {"announced"}, {"announced", "early"}]
        for night, new in enumerate(expected):
            replay.advance(night)
            assert ids(replay.raw, "contents", "content_id") == known | new
            assert ids(replay.raw, "playlists", "playlist_id") == {"old", "undated", *(["new"] if night >= 4 else [])}
            users = ids(replay.raw, "users", "user_id")
            assert users - {"fay", "hal", "dee"} == {"ann", "ben", "cy", "eve"}
            assert ("hal" in users, "fay" in users, "dee" in users) == (night >= 1, night >= 4, night >= 7)
            assert ids(replay.raw, "impressions", "request_id") == ({"r1"} if night >= 1 else set()) | (
                {"r2"} if night >= 6 else set()
            )
        assert (replay.raw / "audio/a1.flac").read_bytes() == (root / "audio/a1.flac").read_bytes()

    def test_nothing_that_stays_is_touched(self, root, tmp_path):
        replay = Replay(root, tmp_path / "then", DAYS)
        states = []
        for night in range(DAYS + 1):
            replay.advance(night)
            states.append(state(replay.raw))
        for before, after in pairwise(states):
            assert all(after[name] == old for name, old in before.items() if "events" in name or "audio" in name)
            assert len([name for name in after.keys() - before.keys() if "events" in name]) <= 1
        replay.advance(DAYS)
        assert state(replay.raw) == states[-1]
        replay.advance(0)  # and back
        assert state(replay.raw).keys() == states[0].keys()

    def test_is_whole_after_a_kill_at_any_link(self, root, tmp_path, monkeypatch):
        whole = Replay(root, tmp_path / "whole", DAYS)
        whole.advance(4)
        replay = Replay(root, tmp_path / "then", DAYS)
        real, left = replaying.same_file, [0]

        def dies(source, target):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            real(source, target)

        monkeypatch.setattr(replaying, "same_file", dies)
        for calls in range(30):
            left[0] = calls % 7
            try:
                replay.advance(4 if calls > 2 else 6)
            except KeyboardInterrupt:
                continue
        monkeypatch.setattr(replaying, "same_file", real)
        replay.advance(4)
        assert files(replay.raw) == files(whole.raw)

    def test_other_data_is_laid_out_anew(self, root, tmp_path):
        Replay(root, tmp_path / "then", DAYS).advance(7)
        raw_set.write_part(
            root, "events", raw_set.event_table([("zoe", "a1", raw_set.at(33), "play", 1, None)]), part=2
        )
        replay = Replay(root, tmp_path / "then", DAYS)
        replay.advance(7)
        assert "zoe" in ids(replay.raw, "events", "user_id")
        assert len([*(tmp_path / "then").glob("parts-*")]) == 1

    def test_refuses_more_nights_than_there_is_data(self, root, tmp_path):
        with pytest.raises(UserError, match="days=900: no event before"):
            Replay(root, tmp_path / "then", 900)
        with pytest.raises(UserError, match="days=0"):
            Replay(root, tmp_path / "then", 0)


def files(folder: Path) -> dict[str, bytes]:
    names = [path for path in folder.rglob("*") if path.is_file()]
    return {os.path.relpath(path, folder): path.read_bytes() for path in names}
