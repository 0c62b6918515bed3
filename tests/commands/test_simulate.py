"""`towers simulate` as a user runs it, on a small invented world."""

import json
import re
import shutil

import numpy as np
import pytest

from tests.command_line import ok, refused, towers
from tests.commands.conftest import FIT
from tests.simulation.listeners.logs import EXPORT
from towers.config.composing import compose
from towers.contract.provenance import Provenance
from towers.data.event_times import instant_us
from towers.data.forgetting import read_forgotten
from towers.errors import UserError
from towers.lifecycle.simulator.checking import skip_data
from towers.lifecycle.simulator.log import read_store
from towers.lifecycle.simulator.parts import HeldOut, checked_part, coded_as, fitted_part
from towers.lifecycle.simulator.running import Offer, Run, simulate
from towers.lifecycle.simulator.versions import open_version
from towers.retrieval.export import Export
from towers.simulation.checks.verdict import Limit, Verdict
from towers.simulation.listeners.held_out import is_held_out
from towers.simulation.listeners.session_log import SKIP

# A fit walks through a log play by play, and checks of every call take longer than it does itself.
pytestmark = pytest.mark.unhooked
HALF = HeldOut(share=0.5, seed=0)
UNTIL_US = 1_775_341_398_875_001
"""End of the export's training."""


@pytest.fixture(scope="module")
def store(listened_world):
    return f"store={listened_world.store}"


@pytest.fixture(scope="module")
def fitted(fitted_listeners):
    """A folder with a fitted simulator, and the fit's output. Tests do not change the folder."""
    return fitted_listeners


@pytest.fixture(scope="module")
def simulator(fitted):
    (folder,) = versions(fitted[0])
    return open_version(folder).simulator


@pytest.fixture(scope="module")
def log(simulator, listened_world):
    """Reads the plays of all listeners, as the simulator does."""
    found = read_store(listened_world.store, simulator.space).log
    return coded_as(found, simulator.contexts, simulator.devices)


def versions(folder):
    """Folders of the versions of the simulator."""
    there = (folder / "simulators" / "listeners").iterdir()
    return [path for path in there if path.is_dir() and not path.is_symlink()]


def test_hold_out_writes_ids_for_a_prepare(tmp_path, listened_world, store):
    printed = ok(tmp_path, "simulate", "action=hold_out", store)
    user_ids = read_forgotten(tmp_path / "simulators" / "listeners" / "held_out.txt")
    assert 10 < len(user_ids) < 30
    assert is_held_out(user_ids, 0.3, 0).all()
    commands = [line.strip() for line in printed.splitlines() if line.startswith("  towers ")]
    assert [command.split()[1] for command in commands] == ["prepare", "train", "export", "simulate"]
    prepared = compose("prepare", commands[0].split()[2:]).data
    assert (prepared.name, prepared.root) == ("small-held-out", str(listened_world.raw))
    assert prepared.forget == "simulators/listeners/held_out.txt"
    assert instant_us("", prepared.split.validation_start) == 1_775_341_333_000_000
    assert f" as_of={prepared.split.validation_start} " in commands[2]
    assert " paths.exports=simulators/listeners/exports " in commands[2]
    assert commands[3] == f"towers simulate action=fit folder=simulators/listeners store={listened_world.store}"


def test_a_fit_leaves_out_listeners_and_later_time(fitted):
    folder, printed = fitted
    (version,) = versions(folder)
    assert version == (folder / "simulators" / "listeners" / "current").resolve()
    origin = json.loads((version / "fit.json").read_text())
    assert origin["until_us"] == Export(EXPORT).provenance.trained_until_us == UNTIL_US
    assert 20 < origin["listeners"] < 60
    assert f"fitted to {origin['plays']:,} plays of {origin['listeners']} listeners" in printed
    assert f"has seen {origin['held_out_in_export']} listeners who are held out, so no check will pass" in printed
    assert "members: 1" in (version / "config.yaml").read_text()


def test_the_same_fit_is_not_made_again(fitted, store):
    folder, _ = fitted
    assert "nothing to fit" in ok(folder, "simulate", "action=fit", store, *FIT)
    assert len(versions(folder)) == 1


def test_a_run_is_prepared_like_real_data(fitted, store, tmp_path, make_builder):
    folder, _ = fitted
    out = tmp_path / "out"
    days = ("run.days=3", "run.listeners=30", f"run.out={out}", "run.from=2026-04-20", "force=true")
    printed = ok(folder, "simulate", "action=run", store, *days)
    assert "30 listeners from 2026-04-20T00:00:00+00:00 to 2026-04-23T00:00:00+00:00" in printed
    assert {path.stem for path in (out / "events").iterdir()} <= {
        "before", "2026-04-20", "2026-04-21", "2026-04-22", "2026-04-23",
    }  # fmt: skip
    store_again = make_builder(out, tmp_path / "store").build()[0]
    assert store_again.end_us is not None
    assert store_again.end_us > 1_776_643_200_000_000  # simulated days are in it


class TestShelf:
    """The shelf that a run shows to listeners; `test_home_shelf.py` tests how it is chosen."""

    RUN = ("action=run", "run.days=4", "run.from=2026-04-20", "force=true")

    def test_impressions_are_prepared_one_and_all(self, fitted, store, tmp_path, make_builder):
        out = tmp_path / "out"
        printed = ok(fitted[0], "simulate", store, *self.RUN, f"run.out={out}", "run.slate=3", "run.candidates=9")
        ((sessions, rows),) = re.findall(r"start of (\d+) sessions, \d+ picked from it: (\d+) impressions", printed)
        assert int(rows) == 3 * int(sessions) > 0
        made, _ = make_builder(out, tmp_path / "store").build()
        assert made.impressions.count_rows() == int(rows)
        again = tmp_path / "again"
        ok(fitted[0], "simulate", store, *self.RUN, f"run.out={again}", "run.slate=3", "run.candidates=9")
        for path in (*out.glob("impressions/*"), *out.glob("events/*")):
            assert path.read_bytes() == (again / path.relative_to(out)).read_bytes()

    @pytest.mark.parametrize(
        ("key", "said"),
        [
            ("run.slate=0", None),
            ("run.contexts=[train]", "no impressions: run.contexts: the simulator knows no session in train, only in"),
        ],
    )
    def test_without_a_shelf_there_are_none(self, fitted, store, tmp_path, key, said):
        printed = ok(fitted[0], "simulate", store, *self.RUN, f"run.out={tmp_path / 'out'}", key)
        assert ("run.contexts" in printed) == (said is not None)
        assert said is None or f"{said} album, artist, home, playlist, radio, search" in printed
        assert not (tmp_path / "out" / "impressions").exists()

    @pytest.mark.slow
    def test_a_policy_is_trained_by_it_and_judged(self, fitted, store, tmp_path):
        """The policy that chose the shown contents has weights of 1 in its own log."""
        out = tmp_path / "out"
        run = ("run.slate=3", "run.candidates=9", "run.days=60", "run.own_pull=2", f"run.out={out}")
        ok(fitted[0], "simulate", store, *self.RUN, *run)
        ok(tmp_path, "prepare", "data=parquet", f"data.root={out}", "data.name=simulated")
        space = open_version(versions(fitted[0])[0]).simulator.space
        cards = tmp_path / "cards.txt"
        cards.write_text("".join(f"{space.content_ids[row]}\n" for row in np.flatnonzero(space.is_playable).tolist()))
        given = (f"export='{EXPORT}'", "store=stores/simulated", f"cards={cards}", "reward.min_stream_ms=1")
        for policy in ("hierarchical", "uniform"):
            folder = f"folder={tmp_path / policy}"
            said = ok(tmp_path, "home", "action=train", f"policy={policy}", folder, *given)
            assert re.search(r"learned from [\d,]+ cards that were shown, in \d+ updates", said)
            told = ok(tmp_path, "home", "action=evaluate", f"policy={policy}", folder, *given)
            assert (tmp_path / "evaluations" / f"home-{policy}-000001" / "report.html").is_file()
            if policy == "uniform":
                assert "passed         supported: weights average 1.000, standard error 0.000" in told


class TestCheck:
    """The command compares the right listeners and decides; the figures have tests of their own."""

    @pytest.mark.slow
    def test_held_out_listeners_are_compared(self, fitted, store, tmp_path):
        shutil.copytree(fitted[0] / "simulators" / "listeners", tmp_path / "copy", symlinks=True)
        folder = f"folder={tmp_path / 'copy'}"
        done = towers(tmp_path, "simulate", "action=check", store, folder, "check.resamples=20", "check.splits=10")
        assert done.returncode == 3
        (line,) = done.stderr.strip().splitlines()
        told = json.loads((tmp_path / "copy" / "current" / "check.json").read_text())
        failed = [limit for limit in told["verdict"]["limits"] if not limit["passed"]]
        assert f"misses {len(failed)} of {len(told['verdict']['limits'])} limits" in line
        assert done.stdout.count("missed: ") == len(failed)
        assert "Session length" in (tmp_path / "copy" / "current" / "report.html").read_text()
        assert {"seen_listeners", "seen_period"} <= {limit["name"] for limit in failed}
        assert told["about"]["fit"]["until_us"] == told["about"]["begin_us"] == UNTIL_US
        said = refused(tmp_path, "simulate", "action=run", store, folder)
        assert "this simulator misses limits of its check (" in said

    def test_chances_of_a_skip_are_told_before_the_play(self, simulator, log):
        period = checked_part(log, HALF, UNTIL_US, None)
        data = skip_data(simulator, fitted_part(log, HALF, UNTIL_US), period)
        assert len(data.predicted) == len(period.real)
        np.testing.assert_array_equal(data.is_skip, period.real.outcome == SKIP)
        np.testing.assert_array_equal(data.listener, period.real.listener)
        for play in (0, len(period.real) // 2, len(period.real) - 1):
            whose = period.real.listener[play]
            earlier = np.append(
                period.before.outcome[period.before.listener == whose],
                period.real.outcome[:play][period.real.listener[:play] == whose],
            )
            share = (earlier == SKIP).mean() if len(earlier) else np.nan
            assert data.features[play, -1] == pytest.approx(share, nan_ok=True)
        # Later plays change no earlier chance.
        shorter = checked_part(log, HALF, UNTIL_US, UNTIL_US + 25 * 86_400_000_000)
        first = skip_data(simulator, shorter.before, shorter)
        ids = np.array(period.real.user_ids)[period.real.listener]
        there = np.isin(ids, shorter.real.user_ids) & (period.real.start_us <= shorter.real.start_us.max())
        np.testing.assert_allclose(data.predicted[there], first.predicted, atol=1e-6)

    @pytest.mark.parametrize(("figure", "said"), [(0.5, "Session length: 0.5 (KS; at most 0.05)"), (0.01, None)])
    def test_a_run_asks_for_the_verdict(self, fitted, store, tmp_path, figure, said):
        shutil.copytree(fitted[0] / "simulators" / "listeners", tmp_path / "copy", symlinks=True)
        limit = Limit(name="length", title="Session length", told="KS", figure=figure, least=None, most=0.05)
        told = json.dumps({"verdict": Verdict(limits=(limit,)).to_json()})
        (tmp_path / "copy" / "current" / "check.json").write_text(told)
        given = ("action=run", store, f"folder={tmp_path / 'copy'}", "run.listeners=5", "run.out=out")
        if said is None:
            assert "wrote out" in ok(tmp_path, "simulate", *given)
        else:
            assert said in refused(tmp_path, "simulate", *given)
            assert not (tmp_path / "out").exists()

    def test_a_run_without_a_check(self, fitted, store):
        said = refused(fitted[0], "simulate", "action=run", store)
        assert "this simulator was not checked; run towers simulate action=check, or take it" in said

    def test_a_period_without_plays(self, fitted, store):
        said = refused(fitted[0], "simulate", "action=check", store, "end=2026-04-01")
        assert "no held-out listener plays from 2026-04-04T22:23:18+00:00 to 2026-04-01T00:00:00+00:00" in said
        assert not [*fitted[0].rglob("check.json")]


class TestMistakes:
    def test_an_action(self, tmp_path):
        assert "must be one of hold_out, fit, check, run" in refused(tmp_path, "simulate", "action=guess")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "store=null: give the folder of a prepared store"),
            (("store=nowhere",), "nowhere: no prepared store here"),
            (("held_out.share=1.5",), "held_out.share=1.5: must be above 0 and below 1"),
            (("until=soon",), "until=soon: not an ISO date or time"),
        ],
    )
    def test_a_value(self, tmp_path, store, arguments, said):
        given = arguments if not arguments or arguments[0].startswith("store") else (store, *arguments)
        assert said in refused(tmp_path, "simulate", *FIT, *given)
        assert not (tmp_path / "simulators").exists()

    def test_a_fit_of_too_few(self, tmp_path, store):
        said = refused(tmp_path, "simulate", store, *FIT, "fit.min_listeners=1000")
        assert "and a fit needs 1,000 (fit.min_listeners)" in said
        assert not [*tmp_path.rglob("fit.json")]

    def test_an_export_that_does_not_say_until_when(self, tmp_path, store, monkeypatch):
        monkeypatch.setattr(Export, "provenance", Provenance())
        said = refused(tmp_path, "simulate", store, *FIT)
        assert "until=null: export" in said

    def test_no_simulator(self, tmp_path, store):
        assert "no simulator here; fit one" in refused(tmp_path, "simulate", "action=run", store)

    @pytest.mark.parametrize("action", ["run", "check"])
    def test_an_export_of_another_space(self, fitted, store, action):
        other = EXPORT.parents[1] / "format-3" / "export"
        said = refused(fitted[0], "simulate", f"action={action}", store, f"export='{other}'", "force=true")
        assert "is of space" in said
        assert "fit a simulator in this space" in said

    def test_an_out_that_exists(self, fitted, store, tmp_path):
        (tmp_path / "out").mkdir()
        said = refused(fitted[0], "simulate", "action=run", store, f"run.out={tmp_path / 'out'}", "force=true")
        assert "exists; give another folder" in said

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"member": 1}, "run.member=1: must be below 1, the number of models"),
            ({"listeners": 500}, "run.listeners=500: only"),
            ({"begin_us": 0}, "run.from=1970-01-01T00:00:00+00:00: no listener has played before"),
        ],
    )
    def test_a_run_that_cannot_be(self, simulator, log, change, said):
        run = Run(
            **{"days": 1.0, "listeners": None, "begin_us": None, "member": None, "seed": 0, "offer": Offer()} | change
        )
        with pytest.raises(UserError, match=re.escape(said)):
            simulate(simulator, log, run)
