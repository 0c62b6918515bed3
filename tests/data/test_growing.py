"""A store that grows day by day is the store of all days at once, byte for byte; rows last."""

import shutil
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data import raw_set
from tests.data.raw_set import EVENTS, START, TEST_START, VALIDATION_START
from towers.data.making import LOG
from towers.data.splits.leave_one_out import LeaveOneOut
from towers.data.store import CURRENT, Store

FIXED = {"split": LeaveOneOut(), "max_rejected_fraction": 1.0, "max_duplicate_fraction": 1.0}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def with_rows_of(root: Path, other: Path) -> Path:
    """Returns a folder of stores that holds nothing but the row maps of another: a full prepare in it reads
    everything.
    """
    log = (root / LOG / CURRENT).resolve()
    kept = other / LOG / log.name
    shutil.copytree(log, kept)
    manifest = kept / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"log_format"', '"another_format"'))
    (other / LOG / CURRENT).symlink_to(log.name)
    return other


def write_day(raw: Path, day: int, events: list[tuple]) -> None:
    raw_set.write_part(raw, "events", raw_set.event_table(events), part=day)


def without_events(folder: Path) -> Path:
    raw = raw_set.write_raw(folder)
    for path in (raw / "events").iterdir():
        path.unlink()
    return raw


def assert_same(grown: Store, full: Store) -> None:
    assert grown.fingerprint == full.fingerprint
    ours, theirs = files_of(grown.folder), files_of(full.folder)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if ours[name] != theirs[name]]
    assert not different


class TestDays:
    def test_one_after_the_other(self, tmp_path, make_builder):
        """Late events, duplicates, and new listeners and contents come with the days."""
        raw, root = without_events(tmp_path / "raw"), tmp_path / "stores"
        order = [11, 3, 0, 16, 5, 12, 1, 2, 4, 13, 6, 7, 8, 9, 10, 14, 15, 17, 18]
        found = [EVENTS[place] for place in order if place < len(EVENTS)]
        days = [
            found[:6],
            [],
            found[6:9] + found[:2],
            found[9:14],
            [*found[14:], ("zoe", "n1", START, "play", 5, None)],
        ]
        stores = []
        for day, events in enumerate(days):
            write_day(raw, day, events)
            stores.append(make_builder(raw, root, **FIXED).build()[0])
        full = make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0]
        assert_same(stores[-1], full)
        for before, after in pairwise(stores):
            known = [each for each in before.content_ids.tolist() if each is not None]
            rows = {each: row for row, each in enumerate(after.content_ids.tolist())}
            assert [rows[each] for each in known] == [before.content_ids.tolist().index(each) for each in known]
            assert after.user_ids.tolist()[: len(before.user_ids)] == before.user_ids.tolist()

    @pytest.mark.slow
    def test_from_nothing_it_is_the_same_where_nobody_is_new(self, tmp_path, make_builder):
        """Without a row map rows go by day of first appearance, then by id, as they do day by day."""
        raw, root = without_events(tmp_path / "raw"), tmp_path / "stores"
        by_day = sorted(EVENTS, key=lambda event: event[2])
        early = [("fay", "u1", START, "play", 5, None), ("fay", "u0", START + timedelta(days=1), "play", 5, None)]
        write_day(raw, 0, [*early, *by_day[:9]])
        make_builder(raw, root, **FIXED).build()
        write_day(raw, 1, [*by_day[9:], ("abe", "t0", TEST_START + timedelta(days=3), "play", 5, None)])
        grown = make_builder(raw, root, **FIXED).build()[0]
        assert_same(grown, make_builder(raw, tmp_path / "others", **FIXED).build()[0])
        unlisted = grown.content_ids.tolist()[-4:]
        assert unlisted == ["u1", "u0", "u9", "t0"]

    def test_old_files_are_not_read_again(self, tmp_path, make_builder, monkeypatch):
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        make_builder(raw, root, **FIXED).build()
        write_day(raw, 7, [("zoe", "a1", START, "play", 5, None)])
        read = []
        from towers.data import raw as reading

        known = reading.select_raw
        monkeypatch.setattr(
            "towers.data.raw.select_raw",
            lambda tables, table, extra=(): read.extend(tables.files.get(table, [])) or known(tables, table, extra),
        )
        make_builder(raw, root, **FIXED).build()
        assert [path.name for path in read if path.parent.name == "events"] == ["part-7.parquet"]

    @pytest.mark.slow
    def test_a_file_that_changed_is_read_again_with_all_others(self, tmp_path, make_builder):
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        make_builder(raw, root, **FIXED).build()
        write_day(raw, 1, [("zoe", "a1", START, "play", 5, None)])
        grown = make_builder(raw, root, **FIXED).build()[0]
        full = make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0]
        assert_same(grown, full)

    @pytest.mark.slow
    def test_a_file_that_comes_back(self, tmp_path, make_builder):
        """The file comes before another one with the same event; while it was gone, the other one counted."""
        raw, root = without_events(tmp_path / "raw"), tmp_path / "stores"
        write_day(raw, 0, EVENTS[:14])
        write_day(raw, 1, EVENTS[14:])
        write_day(raw, 2, [(*EVENTS[-1][:4], 7, None)])
        make_builder(raw, root, **FIXED).build()
        away = shutil.move(raw / "events/part-1.parquet", tmp_path / "away")
        make_builder(raw, root, **FIXED).build()
        shutil.move(away, raw / "events/part-1.parquet")
        write_day(raw, 3, [("zoe", "a1", START, "play", 5, None)])
        grown = make_builder(raw, root, **FIXED).build()[0]
        assert_same(grown, make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0])

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    @pytest.mark.slow
    def test_overlapping_weeks_in_both_orders(self, tmp_path, make_builder, order):
        """The first of repeated events keeps its row, and the histories are the same."""
        weeks = [EVENTS[:13], EVENTS[7:]]
        raw, root = without_events(tmp_path / "raw"), tmp_path / "stores"
        for place, week in enumerate(order):
            write_day(raw, place, weeks[week])
            store = make_builder(raw, root, **FIXED).build()[0]
        assert_same(store, make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0])
        told = {
            (store.user_ids[user], store.content_ids[row] if row >= 0 else None, int(time))
            for user, begin, end in zip(
                range(len(store.user_ids)), store.histories.offsets, store.histories.offsets[1:], strict=False
            )
            for row, time in zip(
                store.histories.content_row[begin:end], store.histories.timestamp_us[begin:end], strict=True
            )
        }
        assert len(told) == len([event for event in EVENTS if event[0] != "cy"])


class TestWhatChanges:
    @pytest.mark.slow
    def test_metadata(self, tmp_path, make_builder):
        """The length of a content is corrected: its plays are judged anew, though no event is read."""
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        make_builder(raw, root, **FIXED).build()
        longer = [{**each, "duration_ms": 400_000} if each["content_id"] == "a2" else each for each in raw_set.CONTENTS]
        raw_set.write_part(raw, "contents", pa.Table.from_pylist(longer, raw_set.CONTENT_SCHEMA))
        grown = make_builder(raw, root, **FIXED).build()[0]
        assert_same(grown, make_builder(raw, tmp_path / "others", **FIXED).build()[0])
        row = grown.content_ids.tolist().index("a2")
        fractions = np.asarray(grown.histories.played_fraction)[np.asarray(grown.histories.content_row) == row]
        assert 0.5 in fractions.tolist()

    @pytest.mark.slow
    def test_a_content_that_is_withdrawn(self, tmp_path, make_builder):
        """Listeners who heard it still did; its id is known, and it is never recommended. A content never heard becomes
        a hole.
        """
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        before = make_builder(raw, root, **FIXED).build()[0]
        left = [each for each in raw_set.CONTENTS if each["content_id"] not in ("a2", "a5")]
        raw_set.write_part(raw, "contents", pa.Table.from_pylist(left, raw_set.CONTENT_SCHEMA))
        (raw / "playlists/part-0.parquet").unlink()
        grown = make_builder(raw, root, **FIXED).build()[0]
        a2, a5 = (before.content_ids.tolist().index(each) for each in ("a2", "a5"))
        assert grown.content_ids[a2] == "a2"
        assert grown.contents["is_withdrawn"].to_pylist()[a2]
        assert grown.contents["title"][a2].as_py() is None
        assert grown.content_ids[a5] is None
        assert len(grown.content_ids) == len(before.content_ids)
        assert_same(grown, make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0])

    @pytest.mark.slow
    def test_a_listener_who_leaves_and_returns(self, tmp_path, make_builder):
        """The row stays empty for ever; the listener's events in the old files do not return with them."""
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        before = make_builder(raw, root, **FIXED).build()[0]
        ben = before.user_ids.tolist().index("ben")
        known = make_builder(raw, root, **FIXED, forget=["ben"]).build()[0]
        assert known.user_ids[ben] is None
        assert known.histories.offsets[ben] == known.histories.offsets[ben + 1]
        assert not any(b"ben" in content for content in files_of(known.folder).values())
        assert not any(b"ben" in content for content in files_of((root / LOG / CURRENT).resolve()).values())
        again = make_builder(raw, root, **FIXED).build()[0]
        assert "ben" not in again.user_ids.tolist()
        write_day(raw, 8, [("ben", "a1", VALIDATION_START, "play", 5, None)])
        returned = make_builder(raw, root, **FIXED).build()[0]
        assert returned.user_ids[ben] is None
        assert returned.user_ids.tolist()[-1] == "ben"
        assert np.diff(returned.histories.offsets)[-1] == 1
        assert_same(returned, make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0])

    @pytest.mark.slow
    def test_a_listener_who_comes_without_an_event(self, tmp_path, make_builder):
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        make_builder(raw, root, **FIXED).build()
        gil = {"user_id": "gil", "deleted": False, "country": "is"}
        raw_set.write_part(raw, "users", pa.Table.from_pylist([*raw_set.USERS, gil]))
        grown = make_builder(raw, root, **FIXED).build()[0]
        assert grown.user_ids.tolist()[-1] == "gil"
        assert grown.histories.num_users == len(grown.user_ids)
        assert_same(grown, make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0])
        write_day(raw, 8, [("gil", "a1", VALIDATION_START, "play", 5, None)])
        later = make_builder(raw, root, **FIXED).build()[0]
        assert_same(later, make_builder(raw, with_rows_of(root, tmp_path / "more"), **FIXED).build()[0])

    @pytest.mark.slow
    def test_back_to_earlier_lists(self, tmp_path, make_builder):
        """The contents listed meanwhile are withdrawn, though a version from before they were listed exists."""
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        make_builder(raw, root, **FIXED).build()
        listed = raw / "contents/part-0.parquet"
        before = listed.read_bytes()
        nine = {"content_id": "u9", "kind": "track", "title": "Nine"}
        raw_set.write_part(raw, "contents", raw_set.content_table([*raw_set.CONTENTS, nine]))
        make_builder(raw, root, **FIXED).build()
        listed.write_bytes(before)
        grown = make_builder(raw, root, **FIXED).build()[0]
        assert grown.is_withdrawn[grown.content_ids.tolist().index("u9")]
        assert_same(grown, make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0])

    @pytest.mark.slow
    @pytest.mark.parametrize("how", ["gone for a while", "called otherwise"])
    def test_an_old_file_does_not_bring_back_who_left(self, tmp_path, make_builder, how):
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        write_day(raw, 5, [("fox", "a1", START, "play", 100_000, "home")])
        make_builder(raw, root, **FIXED).build()
        make_builder(raw, root, **FIXED, forget=["fox"]).build()
        path = raw / "events/part-5.parquet"
        if how == "called otherwise":
            path.rename(raw / "events/z.parquet")
        else:
            away = shutil.move(path, tmp_path / "away")
            make_builder(raw, root, **FIXED).build()
            shutil.move(away, path)
        write_day(raw, 6, [("ann", "a1", START, "play", 100_000, "home")])
        assert "fox" not in make_builder(raw, root, **FIXED).build()[0].user_ids.tolist()

    @pytest.mark.parametrize("left", ["whole", pytest.param("half removed", marks=pytest.mark.slow)])
    def test_a_log_that_a_kill_has_left_is_made_again(self, tmp_path, make_builder, monkeypatch, left):
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        make_builder(raw, root, **FIXED).build()
        with monkeypatch.context() as patched:
            patched.setattr("towers.data.event_log.log.point_to", Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                make_builder(raw, root, **FIXED, forget=["nobody"]).build()
        newest = (root / LOG / CURRENT).resolve().name
        (log,) = (each for each in (root / LOG).iterdir() if each.name not in (CURRENT, newest))
        if left == "half removed":
            (log / "columns" / "action.bin").unlink()
        make_builder(raw, root, **FIXED, forget=["another"]).build()
        assert not make_builder(raw, root, **FIXED, forget=["another"]).build()[1]
        write_day(raw, 8, [("zoe", "a1", VALIDATION_START, "play", 5, None)])
        grown = make_builder(raw, root, **FIXED).build()[0]
        assert_same(grown, make_builder(raw, with_rows_of(root, tmp_path / "others"), **FIXED).build()[0])

    @pytest.mark.slow
    def test_other_settings_read_no_event_again(self, tmp_path, make_builder, feature_settings, monkeypatch):
        raw, root = raw_set.write_raw(tmp_path / "raw"), tmp_path / "stores"
        make_builder(raw, root, **FIXED).build()
        from dataclasses import replace

        other = replace(feature_settings, min_played_fraction=0.01)
        store = make_builder(raw, root, **FIXED, features=other).build()[0]
        assert_same(store, make_builder(raw, tmp_path / "others", **FIXED, features=other).build()[0])


@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_any_days_in_any_order(data, tmp_path_factory, make_builder):
    folder = tmp_path_factory.mktemp("days")
    raw, root = without_events(folder / "raw"), folder / "stores"
    draw = st.lists(st.sampled_from(EVENTS), max_size=12)
    days = data.draw(st.lists(draw, min_size=1, max_size=2))
    numbers = data.draw(st.permutations(range(len(days) + 1)))  # a late file may bear an early name
    for number, day in zip(numbers, [list(EVENTS[:4]), *days], strict=True):
        write_day(raw, number, day)
        make_builder(raw, root, **FIXED).build()
    grown = Store.open(root)
    assert_same(grown, make_builder(raw, with_rows_of(root, folder / "others"), **FIXED).build()[0])
