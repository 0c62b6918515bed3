"""What watchers of a night are told, and that none of them can end it."""

import os
import signal

import pytest

from tests.lifecycle.versions import night as published
from tests.lifecycle.watching.states import Noting, state_in
from towers.errors import GateRefused, UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.watching.watcher import Watch, Watcher
from towers.training.stopping import Stopped, ends_on_signals


@pytest.fixture
def ledger(tmp_path):
    found = Ledger(folder=tmp_path / "nights" / "small", exports=tmp_path / "exports", runs=tmp_path / "runs")
    found.folder.mkdir(parents=True)
    found.exports.mkdir()
    return found


class Broken(Watcher):
    """Fails at whatever it is told."""

    def begun(self, state):
        raise RuntimeError("no\nway")

    step_begun = step_ended = ended = lambda self, *told: 1 / 0


def test_a_night_is_told_from_its_beginning_to_its_end(ledger, tmp_path):
    published(ledger, 1)
    noting = Noting()
    watch = Watch({"noting": noting}, state_in(tmp_path))
    with watch.process(), watch.night(ledger):
        with watch.step("prepare") as facts:
            facts["rows"] = {"events": 3}
        watch.knows(ending="published", why="v2 serves")
    assert noting.told == ["ready", "begun", "prepare begins", "prepare ends", "ended: published", "close"]
    state = noting.states[-1]
    assert (state.serving.version, state.why) == ("v1", "v2 serves")
    (step,) = state.steps
    assert step.facts == {"rows": {"events": 3}}
    assert (step.outcome, step.error) == ("ok", None)
    assert 0 <= step.seconds <= state.seconds


@pytest.mark.parametrize(
    ("error", "ending", "why"),
    [
        (GateRefused("norms refuses"), "refused", "norms refuses"),
        (UserError("data.root: no\nfolder"), "failed", "data.root: no folder"),
        (ValueError("odd"), "failed", "ValueError: odd"),
        (Stopped(signal.SIGTERM), "stopped", "stopped by SIGTERM"),
        (KeyboardInterrupt(), "stopped", "stopped from the terminal"),
    ],
)
def test_how_a_night_ends_follows_from_what_ended_it(ledger, tmp_path, error, ending, why):
    noting = Noting()
    watch = Watch({"noting": noting}, state_in(tmp_path))
    with pytest.raises(type(error)), watch.process(), watch.night(ledger), watch.step("twin"):
        raise error
    assert noting.told[-3:] == ["twin ends", f"ended: {ending}", "close"]
    assert noting.states[-1].why == why
    (step,) = noting.states[-1].steps
    assert (step.outcome, step.error) == (ending, why)


def test_a_watcher_that_fails_ends_nothing(ledger, tmp_path, capsys):
    """The others are told all the same, and the line names it."""
    noting = Noting()
    watch = Watch({"broken": Broken(), "noting": noting}, state_in(tmp_path))
    with watch.process(), watch.night(ledger), watch.step("prune"):
        pass
    assert noting.told[-2:] == ["ended: nothing", "close"]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "watchers.broken: RuntimeError: no way; the night goes on"
    assert len(said) == 4


def test_a_signal_ends_a_night_in_order(ledger, tmp_path):
    noting = Noting()
    watch = Watch({"noting": noting}, state_in(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped, ends_on_signals(), watch.process(), watch.night(ledger):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == 143
    assert noting.told[-2:] == ["ended: stopped", "close"]
    assert signal.getsignal(signal.SIGTERM) == before
