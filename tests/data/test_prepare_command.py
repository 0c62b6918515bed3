"""The command's own part: the settings that it reads, and its output."""

import os
from pathlib import Path

import duckdb
import pytest

from tests.data import raw_set
from towers.commands import prepare
from towers.config.composing import compose
from towers.errors import UserError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Prepares the hand-written set with overrides; returns the number of threads that were asked for."""
    raw = raw_set.write_raw(tmp_path / "raw")
    asked = []

    class Builder(prepare.StoreBuilder):
        def __init__(self, **arguments):
            asked.append(arguments["num_workers"])
            super().__init__(**arguments)

    monkeypatch.setattr(prepare, "StoreBuilder", Builder)

    def prepared(*overrides):
        spans = ("data.split.validation_start=2026-01-25", "data.split.test_start=2026-02-04")
        paths = (f"data.root={raw}", f"paths.stores={tmp_path / 'stores'}")
        prepare.run(compose("prepare", ["data=parquet", *paths, *spans, *overrides]))
        return asked[-1]

    return prepared


def test_as_many_threads_as_processors_unless_told(run, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert run() == 5
    assert run("data.num_workers=3") == 3


@pytest.mark.parametrize("number", ["0", "many"])
def test_no_number_of_threads(run, number):
    with pytest.raises(UserError, match=r"data\.num_workers"):
        run(f"data.num_workers={number}")


def test_what_the_store_holds_is_told_each_time(run, capsys):
    run()
    first = capsys.readouterr().out.splitlines()
    run()
    assert first[-4].startswith("actions       play 59%")
    assert capsys.readouterr().out.splitlines()[-4:] == first[-4:]


def test_what_it_says_of_rejected_sounds_is_true(run, capsys):
    run()
    printed = capsys.readouterr().out.splitlines()
    (told,) = [line for line in printed if line.startswith("sounds")]
    assert told.startswith("sounds set aside: 1 of 5: does not decode, .flac (1); such as a5 (")
    folder = Path(told.rpartition("; all are in ")[2])
    assert [path.name for path in folder.iterdir()] == ["sounds.parquet"]
    run()
    assert told in capsys.readouterr().out.splitlines()  # also where nothing is to be prepared


def test_it_says_what_the_periods_hold(run, capsys):
    run()
    first = capsys.readouterr().out
    run()
    for printed in (first, capsys.readouterr().out):
        named = [line.split() for line in printed.splitlines()]
        assert ["validation", "10.0", "days", "3", "positives", "of", "2", "listeners"] in named
        assert "training has 7 positives, under 5,000: little to learn from" in printed


USUAL = ("training", "validation", "test", "users/: the towers do not read")
"""Begins of lines that are printed for any data."""


class TestWhatIsLost:
    """The losses are printed each time, whether the store was made or was there."""

    @pytest.fixture
    def said(self, run, capsys):
        def prepared(*overrides):
            run("data.max_rejected_fraction=0.9", *overrides)
            first = capsys.readouterr().out.splitlines()
            run("data.max_rejected_fraction=0.9", *overrides)
            second = capsys.readouterr().out.splitlines()
            assert first[-len(second) + 1 :] == second[1:]  # all but that it is up to date
            return [line for line in second[1:] if not line.startswith(USUAL)]

        return prepared

    def test_rows_by_their_reasons(self, said, tmp_path):
        bad = [("ann", "a1", raw_set.at(1), action, 1, None) for action in ("hum", "hum", "sing")]
        twice = [raw_set.ANN[0]] * 2
        raw_set.write_part(tmp_path / "raw", "events", raw_set.event_table([*bad, *twice]), part=2)
        dropped, rejected, *_ = said()
        assert dropped == "dropped as duplicates: 2 events"
        assert rejected.endswith(": 3 events (2 unknown action 'hum', 1 unknown action 'sing')")

    def test_many_reasons_are_summed_up(self, said, tmp_path):
        bad = [("ann", "a1", raw_set.at(1), f"act {number}", 1, None) for number in range(7)]
        raw_set.write_part(tmp_path / "raw", "events", raw_set.event_table(bad), part=2)
        assert ": 7 events (1 unknown action 'act 0', " in said()[0]
        assert ", 2 others)" in said()[0]

    def test_dates_that_are_none(self, said, tmp_path):
        path = tmp_path / "raw/users/part-1.parquet"
        query = "SELECT 'zoe' AS user_id, 'infinity'::DATE AS born"
        duckdb.sql(f"COPY ({query}) TO '{path}'")
        assert said()[0] == "set to unknown: 1 dates of users outside the years 1 to 9999"

    def test_playlists_and_events_of_what_is_not_listed(self, said):
        assert said()[:2] == [
            "events/: 1 of 15 events are of 1 contents that contents/ does not list, for example 'u9'; they are known "
            "by their ids alone",
            "playlists/: 1 of 5 entries, in 1 of 2 playlists, are neither in contents/ nor in events/, for example "
            "'nowhere' of 'p1'",
        ]

    def test_files_that_are_not_read(self, said, tmp_path):
        path = tmp_path / "raw/events/part-9.csv"
        path.write_text("ann,a1")
        assert said()[0] == f"not read, because they are not Parquet: 1 files, the first {path}"


def test_a_path_in_python_is_as_on_the_command_line(tmp_path):
    from towers import api

    raw = raw_set.write_raw(tmp_path / "it's Müsik, 2026 [1]")
    spans = ("data.split.validation_start=2026-01-25", "data.split.test_start=2026-02-04")
    folder = api.prepare(f"data.root={raw}", f"paths.stores={tmp_path}/a b/stores", *spans)
    assert folder.parent == tmp_path / "a b/stores/parquet"
