"""The nightly cycle on the command line: nights in a row, a late night, a rollback, mistakes of callers."""

from pathlib import Path

import pytest

from tests.command_line import ok, towers
from tests.end_to_end.nights import LENIENT, NIGHT, Nights
from towers.errors import ExitCode

pytestmark = [pytest.mark.unhooked, pytest.mark.usefixtures("no_page")]


@pytest.fixture(scope="module")
def nights(demo: tuple[Path, str], tmp_path_factory) -> Nights:
    return Nights(tmp_path_factory.mktemp("nights"), demo[0] / "worlds" / "world-0")


@pytest.mark.slow
def test_nights_in_a_row(nights):
    """Each night continues the one before, publishes, and can be rolled back; a late one is never promoted."""
    ok(nights.folder, *nights.command(0, *LENIENT))
    first = nights.served
    second = ok(nights.folder, *nights.command(1, *LENIENT))
    assert f"current moves from {first} to it" in second
    published = nights.served
    record = list(nights.records.values())[-1]
    assert record["version"] == published
    assert [remark["event"] for remark in record["remarks"]][-1] == "published"

    told = ok(nights.folder, *NIGHT, "action=rollback", "why=wrong covers")
    assert f"{published} is marked bad (wrong covers)" in told
    assert nights.served == first
    done = towers(nights.folder, *nights.command(1, *LENIENT))
    assert done.returncode == ExitCode.REFUSED
    assert "was marked bad (wrong covers)" in done.stderr

    third = ok(nights.folder, *nights.command(3, *LENIENT))
    assert f"current moves from {first} to it" in third
    newest = nights.served
    late = ok(nights.folder, *nights.command(2, *LENIENT))
    assert f"comes late: its data ends before that of {newest}" in late
    assert nights.served == newest


def test_a_force_needs_its_reason_and_is_kept(nights):
    done = towers(nights.folder, *nights.command(3, "gate.force=true"))
    assert done.returncode == ExitCode.CALLER
    assert "gate.force=true: say why" in done.stderr


def test_an_action_that_there_is_not(nights):
    done = towers(nights.folder, *NIGHT, "action=nihgt")
    assert done.returncode == ExitCode.CALLER
    assert "action=nihgt: must be one of night, rollback, history, backtest" in done.stderr
