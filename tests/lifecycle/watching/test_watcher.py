"""Calls of a night's watchers, none of which can end the night."""

import os
import signal

import pytest

from tests.lifecycle.versions import night as published
from tests.lifecycle.watching.states import Noting, state_in
from towers.errors import ExitCode, GateRefused, UserError
from towers.lifecycle.ledger import Ledger
from towers.lifecycle.rollback import BEGUN, finish, roll_back
from towers.lifecycle.watching.watcher import Watch, Watcher
from towers.manifest import write_json
from towers.publishing.sinks.sink import NoSink
from towers.training.stopping import Stopped, ends_on_signals


@pytest.fixture
def ledger(tmp_path):
    found = Ledger(folder=tmp_path / "nights" / "small", exports=tmp_path / "exports", runs=tmp_path / "runs")
    found.folder.mkdir(parents=True)
    found.exports.mkdir()
    return found


class Broken(Watcher):
    """A watcher that fails at every call."""

    def begun(self, state):
        raise RuntimeError("no\nway")

    step_begun = step_ended = ended = lambda self, *told: 1 / 0


def test_a_night_is_told_from_its_beginning_to_its_end(ledger, tmp_path):
    published(ledger, 1)
    noting = Noting()
    watch = Watch({"noting": noting}, state_in(tmp_path))
    with watch.process(ledger), watch.night(ledger):
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
    with pytest.raises(type(error)), watch.process(ledger), watch.night(ledger), watch.step("twin"):
        raise error
    assert noting.told[-3:] == ["twin ends", f"ended: {ending}", "close"]
    assert noting.states[-1].why == why
    (step,) = noting.states[-1].steps
    assert (step.outcome, step.error) == (ending, why)


def test_a_watcher_that_fails_ends_nothing(ledger, tmp_path, capsys):
    """The other watchers are called all the same, and the line names the failed one."""
    noting = Noting()
    watch = Watch({"broken": Broken(), "noting": noting}, state_in(tmp_path))
    with watch.process(ledger), watch.night(ledger), watch.step("prune"):
        pass
    assert noting.told[-2:] == ["ended: nothing", "close"]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "watchers.broken: RuntimeError: no way; the night goes on"
    assert len(said) == 4


def test_a_signal_ends_a_night_in_order(ledger, tmp_path):
    noting = Noting()
    watch = Watch({"noting": noting}, state_in(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped, ends_on_signals(), watch.process(ledger), watch.night(ledger):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == ExitCode.TERMINATED
    assert noting.told[-2:] == ["ended: stopped", "close"]
    assert signal.getsignal(signal.SIGTERM) == before


class Signalled(Noting):
    """A watcher that is sent SIGTERM while it is called."""

    def __init__(self, when):
        super().__init__()
        self._when = when

    def _note(self, told, state):
        super()._note(told, state)
        if told == self._when:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("when", ["begun", "prepare begins", "prepare ends", "ended: published"])
def test_a_signal_while_watchers_are_told_is_waited_for(ledger, tmp_path, when):
    """All watchers learn of the event and of the night's end; then the night ends."""
    noting = Noting()
    watch = Watch({"signalled": Signalled(when), "noting": noting}, state_in(tmp_path))

    def night():
        with ends_on_signals(), watch.process(ledger), watch.night(ledger):
            with watch.step("prepare"):
                pass
            watch.knows(ending="published", why="published v2")

    with pytest.raises(Stopped):
        night()
    assert when in noting.told
    assert noting.told[-2:] == [when if when.startswith("ended") else "ended: stopped", "close"]
    if "prepare begins" in noting.told:
        assert "prepare ends" in noting.told


def test_an_error_before_the_night_is_told_and_a_wait_is_not(ledger, tmp_path):
    """The error is that of a disk that cannot be written to; a process that waits for another night reports nothing of
    it.
    """
    noting = Noting()
    with pytest.raises(OSError, match="read-only"), Watch({"": noting}, state_in(tmp_path)).process(ledger):
        raise OSError("stores: read-only")
    assert noting.told == ["ready", "ended: failed", "close"]
    waiting = Noting()
    with pytest.raises(Stopped), Watch({"": waiting}, state_in(tmp_path)).process(ledger):
        raise Stopped(signal.SIGTERM)
    assert waiting.told == ["ready", "close"]


def test_what_was_published_is_told_of_a_night_that_fails_later(ledger, tmp_path):
    published(ledger, 1)
    noting = Noting()
    watch = Watch({"": noting}, state_in(tmp_path))

    def night():
        with watch.process(ledger), watch.night(ledger):
            published(ledger, 2)
            watch.knows(ending="published", why="published v2")
            with watch.step("prune"):
                raise OSError("not empty")

    with pytest.raises(OSError, match="not empty"):
        night()
    state = noting.states[-1]
    assert (state.ending, state.why) == ("failed", "published v2; then: OSError: not empty")
    assert (state.served_before.version, state.serving.version) == ("v1", "v2")


def test_a_roll_back_is_told_once_and_the_night_goes_on_as_it_was(ledger, tmp_path):
    for number in (1, 2):
        published(ledger, number)
    noting = Noting()
    watch = Watch({"": noting}, state_in(tmp_path))
    with watch.process(ledger), watch.night(ledger):
        before = watch.state.serving
        roll_back(ledger, NoSink(), None, "too loud", lambda *told: None)
        watch.put_back(ledger, before)
        watch.put_back(ledger, watch.state.serving)  # nothing has moved
    assert noting.told == ["ready", "begun", "put back", "ended: nothing", "close"]
    back, ended = noting.states[2], noting.states[3]
    assert (back.served_before.version, back.serving.version, back.record.version) == ("v2", "v1", "v1")
    assert back.record.remarks[-1].why == "too loud"
    assert (ended.served_before.version, ended.serving.version, ended.record) == ("v1", "v1", None)


def test_a_roll_back_that_was_interrupted_is_told_by_whoever_completes_it(ledger, tmp_path):
    """`current` may have moved already: the rollback's own file names the version that served before."""
    for number in (1, 2):
        published(ledger, number)
    roll_back(ledger, NoSink(), None, "too loud", lambda *told: None)
    write_json(ledger.folder / BEGUN, {"bad": "v2", "to": "v1", "who": "someone", "why": "too loud"})
    noting = Noting()
    watch = Watch({"": noting}, state_in(tmp_path))
    with watch.process(ledger), watch.night(ledger):
        before = watch.state.serving
        finish(ledger, NoSink(), lambda *told: None)
        watch.put_back(ledger, before)
    told = noting.states[noting.told.index("put back")]
    assert (told.served_before.version, told.serving.version) == ("v2", "v1")
