"""Messages of a night to systemd, received by a real socket."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.lifecycle.versions import night as published
from tests.lifecycle.watching.states import state_in
from tests.notified import Inbox, inbox
from towers.assembly.versions import _watchers
from towers.config.composing import compose
from towers.errors import GateRefused, UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.watching.night_state import NightState, Serving
from towers.lifecycle.watching.systemd import PULSES, Systemd
from towers.lifecycle.watching.watcher import Watch, Watcher
from towers.systemd import VARIABLES

WATCHDOG_S = 0.6


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    found = Ledger(folder=tmp_path / "nights" / "small", exports=tmp_path / "exports", runs=tmp_path / "runs")
    found.folder.mkdir(parents=True)
    found.exports.mkdir()
    published(found, 1)
    return found


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with inbox(tmp_path) as listening:
        monkeypatch.setenv("NOTIFY_SOCKET", listening.address)
        yield listening


def systemd(extend_s: float | None = None) -> Systemd:
    return Systemd(min_core_share=0.1, min_bytes=10**12, extend_s=extend_s)


def watch(folder: Path, watcher: Systemd) -> Watch:
    return Watch({"systemd": watcher}, state_in(folder))


def test_a_night_from_its_beginning_to_its_end(ledger: Ledger, manager: Inbox, tmp_path: Path) -> None:
    watching = watch(tmp_path, systemd())
    begun = datetime.now(UTC)
    with watching.process(ledger):
        assert manager.lines == ["STATUS=night of small (demo): waits for its turn", "READY=1"]
        with watching.night(ledger):
            assert manager.lines[-1] == "STATUS=night of small (demo): begun at 02:15 UTC"
            with watching.step("twin"):
                step = manager.lines[-1]
            watching.knows(ending="published", why="published v2:\nit serves")
        assert manager.lines[-1] == "STATUS=night of small (demo): published: published v2: it serves"
    assert manager.lines[-1] == "STOPPING=1"
    named, _, since = step.rpartition(", since ")
    assert named == "STATUS=night of small (demo): twin, step 4 of 10"
    assert since in {f"{time:%H:%M} UTC" for time in (begun, datetime.now(UTC))}


def test_a_refusal_is_told_without_secrets(
    ledger: Ledger, manager: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_TOKEN", "hunter2hunter2")
    watching = watch(tmp_path, systemd())
    with pytest.raises(GateRefused), watching.process(ledger), watching.night(ledger):
        raise GateRefused("norms refuses hunter2hunter2")
    assert manager.lines[-2:] == ["STATUS=night of small (demo): refused: norms refuses ***", "STOPPING=1"]


def test_a_roll_back(manager: Inbox, tmp_path: Path) -> None:
    serving = Serving(version="v1", folder=tmp_path, space_id="s", data_end=None, since=None)
    systemd().put_back(state_in(tmp_path, serving=serving))
    assert manager.lines == ["STATUS=small: rolled back; v1 serves again"]


def beats(manager: Inbox) -> int:
    return manager.lines.count("WATCHDOG=1")


@pytest.mark.slow
def test_the_watchdog_hears_of_a_night_that_moves_and_not_of_one_that_hangs(
    ledger: Ledger, manager: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG_S * 1e6)))
    watching = watch(tmp_path, systemd(extend_s=60.0))
    with watching.process(ledger):
        time.sleep(WATCHDOG_S)
        waited = beats(manager)
        assert waited >= 2  # a night that waits for another one is alive
        with watching.night(ledger), watching.step("twin"):
            until = time.monotonic() + 20
            while beats(manager) <= waited + 1:
                assert time.monotonic() < until
            time.sleep(3 * WATCHDOG_S / PULSES)
            hung = beats(manager)
            time.sleep(WATCHDOG_S)
            assert beats(manager) == hung
        time.sleep(WATCHDOG_S)
        assert beats(manager) > hung  # the night waits for what others send
    assert manager.lines.count("EXTEND_TIMEOUT_USEC=60000000") == beats(manager) - 1  # the first one is of the start
    ended = beats(manager)
    time.sleep(2 * WATCHDOG_S / PULSES)
    assert beats(manager) == ended  # no more beats


class Sends(Watcher):
    """A watcher that waits for an answer at the end, and sleeps."""

    def ended(self, state: NightState) -> None:
        time.sleep(WATCHDOG_S)


def test_the_watchdog_hears_of_a_night_whose_other_watchers_send(
    ledger: Ledger, manager: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG_S * 1e6)))
    watching = Watch({"sends": Sends(), "systemd": systemd()}, state_in(tmp_path))
    with watching.process(ledger):
        with watching.night(ledger):
            manager.clear()
        lines = manager.lines
    (at,) = [place for place, line in enumerate(lines) if line.startswith("STATUS=")]
    assert lines[:at].count("WATCHDOG=1") >= 2


def test_without_a_watchdog_a_night_asks_for_more_time(
    ledger: Ledger, manager: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    with watch(tmp_path, systemd(extend_s=0.2)).process(ledger):
        manager.wait_for(lambda lines: lines.count("EXTEND_TIMEOUT_USEC=200000") > 1)


def test_an_extension_that_lapses_is_refused(manager: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "900000000")
    assert systemd(extend_s=450.0).is_on
    with pytest.raises(UserError, match=r"extend_s=449: lapses .* every 225 s .*; give at least 450"):
        systemd(extend_s=449.0)


def test_a_limit_of_the_service_holds_unless_it_is_said(
    ledger: Ledger, manager: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with watch(tmp_path, systemd()).process(ledger):
        manager.wait_for(lambda lines: lines.count("WATCHDOG=1") > 1)
    assert not any(line.startswith("EXTEND_TIMEOUT_USEC") for line in manager.lines)


def test_without_systemd_it_is_silent(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    watching = watch(tmp_path, systemd())
    with watching.process(ledger), watching.night(ledger), watching.step("twin"):
        pass
    assert capsys.readouterr() == ("", "")


def test_it_is_on_by_default_where_systemd_asks(manager: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, (name, last) = _watchers(compose("retrain", [])).items()
    assert name == "systemd"  # the last one learns of the process's end after all others
    assert isinstance(last, Systemd)
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert "systemd" not in _watchers(compose("retrain", []))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("min_core_share=0", "watchers.systemd.min_core_share=0.0: must be above 0"),
        ("min_bytes=0", "watchers.systemd.min_bytes=0: must be at least 1"),
        ("extend_s=-1", "watchers.systemd.extend_s=-1.0: must be above 0, or null"),
    ],
)
def test_mistakes(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _watchers(compose("retrain", [f"watchers.systemd.{override}"]))
