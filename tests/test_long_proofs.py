"""Proofs that take minutes, run by `scripts/test --slow`; tests/test_benchmarks.py has a short case of each."""

from pathlib import Path

import pytest

from tests.test_benchmarks import run, run_of

pytestmark = [pytest.mark.unhooked, pytest.mark.slow]


def test_current_is_whole_after_two_hundred_kills(demo, monkeypatch):
    """Exports killed at random moments; after each `exports/current` must verify."""
    run("export_kills", demo[0], [run_of(demo[0]), "--kills=200"], monkeypatch)


def test_every_byte_of_an_export_that_is_changed_is_found(tmp_path, monkeypatch, capfd):
    golden = Path(__file__).parent / "golden" / "format-2" / "export"
    run("export_corruption", tmp_path, [str(golden), "--every=1"], monkeypatch)
    assert capfd.readouterr().out.rstrip().endswith(" 0 not found")
