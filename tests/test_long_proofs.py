"""Proofs that take minutes, run by `scripts/test --slow`; tests/test_benchmarks.py has a short case of each."""

import pytest

from tests.test_benchmarks import GOLDEN, plain_runs, run

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]


def test_current_is_whole_after_two_hundred_kills(demo, monkeypatch):
    """Exports are killed at random moments; after each kill `exports/current` must verify."""
    run("export_kills", demo[0], [*plain_runs(demo[0])[:1], "--kills=200"], monkeypatch)


def test_a_night_that_is_disturbed_leaves_nothing_half_done(tmp_path, monkeypatch):
    """The night is killed, fails at calls of the file system and on full disks, and is started twice."""
    run("killed_nights", tmp_path, ["--kills=20", "--every=40", "--disks=4", "--starts=1"], monkeypatch)


def test_every_byte_of_an_export_that_is_changed_is_found(tmp_path, monkeypatch, capfd):
    run("export_corruption", tmp_path, [str(GOLDEN), "--every=1"], monkeypatch)
    assert capfd.readouterr().out.rstrip().endswith(" 0 not found")
