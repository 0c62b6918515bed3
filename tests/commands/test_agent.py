"""`towers agent` as a user runs it, in a small simulator."""

import json

import pytest

from tests.command_line import ok
from tests.simulation.environment import small
from towers.lifecycle.simulator.versions import Origin, write_version

pytestmark = pytest.mark.unhooked
TRAIN = (
    "logger=csv", "members=[0]", "listeners=6", "days=2", "slate=3", "candidates=12", "force=true",
    "learner._target_=tests.lifecycle.agent.climbing.Climbing",
)  # fmt: skip


def origin() -> Origin:
    """Of the small simulator."""
    return Origin(
        export="none", space_id=small.space().space_id, trained_until_us=small.UNTIL_US, as_of_us=small.UNTIL_US,
        held_out_in_export=0, store="invented", root=None, until_us=small.UNTIL_US, share=0.3, seed=0,
        listeners=small.LISTENERS, plays=1, sessions=1, left_out={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a simulator that was not checked."""
    found = tmp_path_factory.mktemp("agent")
    write_version(found / "simulators" / "listeners", "small", small.simulator(), origin(), lambda temporary: None)
    return found


@pytest.fixture(scope="module")
def trained(folder):
    """What a training printed; the folder has the agent. Nothing there is changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOWERS_ALLOW_TARGETS", "tests.")
        yield ok(folder, "agent", *TRAIN)


def test_a_training_is_kept_whole(folder, trained):
    version = (folder / "agents" / "listening" / "current").resolve()
    assert f"trained agents/listening/{version.name} in" in trained or f"trained {version} in" in trained
    about = json.loads((version / "train.json").read_text())
    assert (about["simulator"], about["simulator_passed"], about["members"]) == ("small", False, [0])
    rows = (version / "metrics.csv").read_text().splitlines()
    assert rows[0] == "step,return"
    assert len(rows) == 4
    assert {path.name for path in version.iterdir()} == {"config.yaml", "train.json", "metrics.csv", "policy", ".lock"}


def test_the_same_training_is_not_done_again(folder, trained):
    assert "nothing to train" in ok(folder, "agent", *TRAIN)


def test_a_slate_is_explained(folder, trained):
    printed = ok(folder, "agent", "action=explain", *TRAIN)
    assert "for somebody new" in printed
    assert "why this" in printed
    told = json.loads(ok(folder, "agent", "action=explain", "explain.json=true", *TRAIN))
    assert [pick["slot"] for pick in told["slate"]] == [1, 2, 3]
    assert all(pick["why"] for pick in told["slate"])


def test_it_is_held_beside_baselines(folder, trained):
    given = (
        "evaluate.member=0", "evaluate.listeners=6", "evaluate.seeds=[1,2]", "evaluate.baselines=[greedy,random]",
        "evaluate.in_worlds=[greedy]", "evaluate.worlds=[drift]", "evaluate.workers=1",
    )  # fmt: skip
    printed = ok(folder, "agent", "action=evaluate", *TRAIN, *given)
    assert "evaluate.member=0: the agent was trained in this model, too" in printed
    version = (folder / "agents" / "listening" / "current").resolve()
    told = json.loads((version / "evaluation.json").read_text())
    assert [world["name"] for world in told["worlds"]] == ["as fitted", "drift"]
    assert [*told["worlds"][0]["policies"]] == ["agent", "greedy", "random"]
    assert [*told["worlds"][1]["policies"]] == ["agent", "greedy"]
    beside = told["worlds"][0]["against"]["greedy"]["return"]
    assert beside["listeners"] == 12
    assert beside["mean"] == pytest.approx(told["worlds"][0]["policies"]["agent"]["return"]["mean"])
    assert len(told["learning"]["return"]) == 3
    page = (version / "report.html").read_text()
    assert f"<h1>Agent {version.name}</h1>" in page
    assert "tastes follow plays faster" in page
