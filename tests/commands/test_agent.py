"""`towers agent` as a user runs it, in a simulator that is fitted to a small invented world."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.command_line import ok, refused, towers
from tests.simulation.listeners.logs import EXPORT
from towers.contract.impressions import IMPRESSION_SCHEMA
from towers.lifecycle.agent import training
from towers.lifecycle.agent.versions import open_agent
from towers.lifecycle.simulator.versions import open_version
from towers.policies.agent.served import ServedAgent
from towers.policies.listener import Listener
from towers.retrieval.export import Export

# A fit walks through a log play by play, and checks of every call take longer than it does itself.
pytestmark = pytest.mark.unhooked
OTHER_EXPORT = EXPORT.parents[1] / "format-3" / "export"
SMALL = (
    "logger=csv", "members=[0]", "listeners=6", "days=3", "slate=3", "candidates=12", "force=true", "learner.steps=3",
)  # fmt: skip
JUDGED = (
    "action=evaluate", "evaluate.member=0", "evaluate.listeners=20", "evaluate.seeds=[1]", "evaluate.worlds=[drift]",
    "evaluate.baselines=[greedy,random]", "evaluate.in_worlds=[greedy]", "evaluate.workers=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def store(listened_world):
    return f"store={listened_world.store}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fitted_listeners):
    """A folder with a simulator that was not checked. Tests add agents to it and change nothing else."""
    found = tmp_path_factory.mktemp("agent")
    shutil.copytree(fitted_listeners[0] / "simulators", found / "simulators", symlinks=True)
    return found


@pytest.fixture(scope="module")
def trained(folder, store):
    """Trains the agent into the folder and returns what the command printed."""
    return ok(folder, "agent", store, *SMALL)


@pytest.fixture(scope="module")
def version(folder, trained):
    return (folder / "agents" / "listening" / "current").resolve()


def test_a_training_is_kept_whole(folder, trained, version):
    assert f"agents/listening/{version.name} in" in trained
    assert "1 worlds of 6 listeners, seed 0" in trained
    about = json.loads((version / "train.json").read_text())
    assert (about["simulator_passed"], about["members"], about["learner"]) == (False, [0], "Reinforce")
    assert about["simulator"] == (folder / "simulators" / "listeners" / "current").resolve().name
    assert about["store"] is not None
    rows = (version / "metrics.csv").read_text().splitlines()
    assert {"step", "return", "active_days", "kept_artists", "skips"} <= {*rows[0].split(",")}
    assert [row.partition(",")[0] for row in rows[1:]] == ["1", "2", "3"]
    assert {path.name for path in version.iterdir()} == {"config.yaml", "train.json", "metrics.csv", "policy", ".lock"}


def test_the_same_training_is_not_done_again(folder, store, version):
    assert "nothing to train" in ok(folder, "agent", store, *SMALL)
    assert [path.name for path in version.parent.iterdir() if path.is_dir() and not path.is_symlink()] == [version.name]


def test_a_killed_training_goes_on_to_the_same(folder, store, version, tmp_path, monkeypatch):
    shutil.copytree(folder / "simulators", tmp_path / "simulators", symlinks=True)
    told = training._Clock.tell

    def killed(self, step, steps):
        told(self, step, steps)
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training._Clock, "tell", killed)
        assert towers(tmp_path, "agent", store, *SMALL).returncode == 130
    unfinished = tmp_path / "agents" / "listening" / version.name
    assert not (unfinished / "train.json").exists()
    assert not (tmp_path / "agents" / "listening" / "current").exists()
    # A row behind the checkpoint, as a kill in between leaves it, is written again.
    curve = unfinished / "metrics.csv"
    curve.write_text(curve.read_text() + curve.read_text().splitlines()[-1].replace("2,", "3,", 1) + "\n")
    ok(tmp_path, "agent", store, *SMALL)
    for name in ("metrics.csv", "policy/policy.npz", "policy/policy.json"):
        assert (unfinished / name).read_bytes() == (version / name).read_bytes(), name


def test_it_is_held_beside_baselines(folder, store, version):
    printed = ok(folder, "agent", store, *SMALL, *JUDGED)
    assert "evaluate.member=0: the agent was trained in this model, too" in printed
    assert "against" in printed
    told = json.loads((version / "evaluation.json").read_text())
    assert [world["name"] for world in told["worlds"]] == ["as fitted", "drift"]
    assert [*told["worlds"][0]["policies"]] == ["agent", "greedy", "random"]
    assert [*told["worlds"][1]["policies"]] == ["agent", "greedy"]
    beside = told["worlds"][0]["against"]["greedy"]["return"]
    assert beside["listeners"] == 20
    assert beside["mean"] == pytest.approx(told["worlds"][0]["policies"]["agent"]["return"]["mean"])
    assert len(told["learning"]["return"]) == 3
    page = (version / "report.html").read_text()
    assert f"<h1>Agent {version.name}</h1>" in page
    assert "tastes follow plays faster" in page


class TestExplained:
    def test_a_listener_of_the_store(self, folder, store, version, listened_world):
        user = listened_world.events["user_id"][0].as_py()
        told = json.loads(
            ok(folder, "agent", "action=explain", store, f"explain.user={user}", "explain.json=true", *SMALL)
        )
        assert told["user_id"] == user
        assert told["plays"] > 0
        assert [pick["slot"] for pick in told["slate"]] == [1, 2, 3]
        for pick in told["slate"]:
            assert pick["why"]
            assert pick["score"] == pytest.approx(sum(pick["shares"].values()))

    def test_a_listener_of_the_export_is_led(self, folder, version, tmp_path):
        user = Export(EXPORT).user_ids[0]
        given = ("action=explain", f"export='{EXPORT}'", f"explain.user={user}", "explain.weeks=2", "explain.a_week=2")
        printed = ok(folder, "agent", *given, f"explain.page={tmp_path / 'plan.html'}", *SMALL)
        assert f"{version.name} for listener {user}" in printed
        assert "why this" in printed
        assert "2 weeks: to " in printed
        assert "<svg" in (tmp_path / "plan.html").read_text()


class TestLog:
    """The lines of a log; how a log is judged has tests of its own."""

    @staticmethod
    def written(folder, listened_world, days_before_end):
        """Writes three of twelve contents, drawn evenly, for every listener on each of two days."""
        events, rng = listened_world.events, np.random.default_rng(0)
        end_us = max(events["timestamp"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist())
        contents = sorted({*events.filter(pc.equal(events["action"], "play"))["content_id"].to_pylist()})
        rows = []
        for day in (0, 1):
            time_us = end_us + (day - days_before_end) * 86_400_000_000
            for user in sorted({*events["user_id"].to_pylist()}):
                candidates = rng.permutation(contents)[:12].tolist()
                for slot in range(3):
                    rows.append(
                        {"request_id": f"{user}-{day}", "user_id": user, "timestamp": time_us, "slot": slot,
                         "candidate_ids": candidates, "chosen_id": candidates[slot], "propensity": 1 / (12 - slot),
                         "policy_id": "uniform"}
                    )  # fmt: skip
        (folder / "impressions").mkdir()
        columns = {name: [row.get(name) for row in rows] for name in IMPRESSION_SCHEMA.names}
        pq.write_table(pa.table(columns, IMPRESSION_SCHEMA), folder / "impressions" / "part-0.parquet")
        return f"log={folder}"

    def test_it_is_judged_or_refused_with_reasons(self, folder, store, version, listened_world, tmp_path):
        log = self.written(tmp_path, listened_world, days_before_end=10)
        printed = ok(folder, "agent", "action=evaluate", store, log, *SMALL)
        assert "slates of uniform from" in printed
        told = json.loads((version / "by_log.json").read_text())
        assert told["policies"] == ["uniform"]
        assert told["rows"] > 20
        assert told["logged"]["mean"] > 0, "what was played after the slates counts"
        assert told["is_judged"] == (not told["refusals"])
        assert all(refusal["words"] in printed for refusal in told["refusals"])

    def test_one_that_is_too_short(self, folder, store, version, listened_world, tmp_path):
        log = self.written(tmp_path, listened_world, days_before_end=1)
        before = sorted(version.rglob("*"))
        said = refused(folder, "agent", "action=evaluate", store, log, *SMALL)
        assert "the log is too short for its delayed outcomes: 3 days are counted" in said
        assert sorted(version.rglob("*")) == before


def test_what_is_exported_serves(folder, version):
    printed = ok(folder, "agent", "action=export", f"export='{EXPORT}'", *SMALL)
    served = folder / "policies" / "agent" / "current"
    assert served.resolve().name == version.name
    assert "contents that the agent knows are not in" not in printed
    about = json.loads((served / "agent.json").read_text())
    assert about["evaluation"] is None or about["evaluation"]["agent"] == "agent"
    export = Export(EXPORT)
    agent, listener = ServedAgent.open(served, export), Listener.of_row(export, 0)
    space = open_version(folder / "simulators" / "listeners").simulator.space
    policy = open_agent(folder / "agents" / "listening").policy(space)
    seen = agent.seen(listener, candidates=12)
    drawn = agent.draw(listener, np.random.default_rng(0), candidates=12)
    expected = policy.draw(seen, np.random.default_rng(0))
    np.testing.assert_array_equal(agent.own_row[drawn.slates], expected.slates)
    np.testing.assert_array_equal(drawn.propensities, expected.propensities)
    assert "nothing to write" in ok(folder, "agent", "action=export", f"export='{EXPORT}'", *SMALL)


class TestMistakes:
    """A mistake prints one line, ends with exit code 2, and writes nothing."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("action=guess",), "action=guess: must be one of train, evaluate, explain, export"),
            (("simulation=nowhere",), "simulation=nowhere: no simulator here; fit one"),
            (("force=false",), "this simulator was not checked; run towers simulate action=check"),
            ((f"export='{OTHER_EXPORT}'",), "fit a simulator in this space"),
        ],
    )
    def test_of_a_training(self, folder, arguments, said):
        before = sorted((folder / "agents").rglob("*"))
        assert said in refused(folder, "agent", *SMALL, "seed=1", *arguments)
        assert sorted((folder / "agents").rglob("*")) == before

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("action=explain", "folder=nowhere"), "folder=nowhere: no agent here; train one"),
            (("action=export",), "export=null: give the folder of the export that is served"),
            (("action=export", f"export='{OTHER_EXPORT}'"), "is of space"),
            (("action=evaluate", "log=somewhere"), "log=somewhere: needs store="),
        ],
    )
    def test_of_an_agent(self, folder, version, arguments, said):
        assert said in refused(folder, "agent", *SMALL, *arguments)
        assert not (folder / "plan.html").exists()
