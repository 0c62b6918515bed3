"""`towers home` as a user runs it: a world of one's own files, and the loop from a page to the version that serves."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command_line import ok, refused, towers
from tests.service.conftest import GOLDEN
from towers.retrieval.export import Export

SMALL = (
    "simulation.rounds=4", "simulation.listeners=40", "world.segments=3", "world.num_cards=20",
    "world.num_listeners=50", "world.dim=4", "world.communities=3",
)  # fmt: skip
EXPORT = f"export='{GOLDEN}'"
VISITS = ("action=visit", "world=catalogue", "world.segments=2", "world.mean_bias=-1.0", "log=log", EXPORT)


def figures(folder):
    """Returns the figures of the one simulation, by policy."""
    (found,) = (folder / "evaluations").glob("home-simulation-*/report.json")
    return {played["name"]: played["figures"] for played in json.loads(found.read_text())["played"]}


@pytest.mark.unhooked  # the hook would take most of the time
def test_a_made_world_is_played_once(tmp_path):
    printed = ok(tmp_path, "home", *SMALL)
    assert {*figures(tmp_path)} == {"hierarchical-thompson", "random", "popular", "pessimistic"}
    again = ok(tmp_path, "home", *SMALL)
    assert "nothing to simulate" in again
    assert printed.count("pessimistic") == again.count("pessimistic") + 1  # the line of progress


@pytest.mark.parametrize("policy", ["epsilon_greedy", "kl_ucb", "kinds_first", "linear_thompson", "lin_ucb", "uniform"])
def test_every_policy_plays(tmp_path, policy):
    one = ("against.random=null", "against.popular=null", "against.pessimistic=null")
    ok(tmp_path, "home", f"policy={policy}", *one, *SMALL)
    (played,) = figures(tmp_path).values()
    assert 0 < played["cumulative"] < 2


def test_a_world_of_own_files(tmp_path):
    generator = np.random.default_rng(0)
    names = [f"taste_{at}" for at in range(3)]
    listeners, cards = generator.normal(size=(60, 3)), generator.normal(size=(15, 3))
    pq.write_table(
        pa.table({"listener": [f"l{row}" for row in range(60)], **dict(zip(names, listeners.T, strict=True))}),
        tmp_path / "listeners.parquet",
    )
    lines = [",".join(["card", *names, "bias"])]
    lines += [",".join([f"c{row}", *map(str, card), "-2.0"]) for row, card in enumerate(cards)]
    (tmp_path / "cards.csv").write_text("\n".join(lines))
    own = ("world.cards=cards.csv", "world.listeners=listeners.parquet")
    ok(tmp_path, "home", *own, *SMALL, "change=new_cards", "change.new_cards.before_round=2")
    assert figures(tmp_path)["random"]["cumulative"] == pytest.approx(1, abs=0.3)
    said = refused(tmp_path, "home", own[0])
    assert "world.listeners: missing" in said


class TestTheLoop:
    """Pages, a log, a version that learned from it, the gate, and a rollback."""

    def test_from_nothing_to_a_version_that_serves(self, tmp_path):
        assert "it serves" in ok(tmp_path, "home", "action=train", EXPORT)
        printed = ok(tmp_path, "home", *VISITS, "visits.pages=30")
        assert "30 pages" in printed
        assert ok(tmp_path, "home", "action=log", "log=log").startswith("wrote 0 rows")
        printed = ok(tmp_path, "home", "action=update", "log=log", EXPORT)
        assert "held out to judge it by" in printed
        assert "before it learned them, it expected" in printed
        assert "it does not serve" in printed
        evaluated = ok(tmp_path, "home", "action=evaluate", "log=log", EXPORT)
        assert "effective_requests" in evaluated
        assert (tmp_path / "evaluations" / "home-home-000002" / "report.html").exists()
        gate = towers(tmp_path, "home", "action=gate", "log=log", EXPORT)
        assert gate.returncode == 3
        assert "000002 is refused by effective_requests" in gate.stderr
        current = tmp_path / "policies" / "home" / "current"
        assert current.resolve().name == "000001"
        forced = ok(tmp_path, "home", "action=gate", "log=log", EXPORT, "home_gate.force=true", "home_gate.why=a test")
        assert "a test" in forced
        assert current.resolve().name == "000002"
        shown = ok(tmp_path, "home", "action=show", f"user={Export(GOLDEN).user_ids[0]}", EXPORT)
        assert "Picked for you" in shown
        ok(tmp_path, "home", "action=rollback")
        assert current.resolve().name == "000001"

    @pytest.mark.unhooked  # the hook would take most of the time
    def test_nothing_new(self, tmp_path):
        ok(tmp_path, "home", "action=train", EXPORT)
        ok(tmp_path, "home", *VISITS, "visits.pages=5")
        ok(tmp_path, "home", "action=update", "log=log", EXPORT, "held_out=0")
        assert "has no row that it has not learned from" in refused(tmp_path, "home", "action=gate", "log=log", EXPORT)
        ok(tmp_path, "home", "action=rollback", "version=000002")
        assert "nothing to learn" in ok(tmp_path, "home", "action=update", "log=log", EXPORT)
        assert len([*(tmp_path / "policies" / "home").glob("0*")]) == 2

    @pytest.mark.unhooked
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("action=dance",), "action=dance: must be one of simulate, train"),
            (("action=update", EXPORT), "policies/home: no policy here"),
            (("action=gate", EXPORT), "folder=policies/home: no policy here; write one by action=train"),
            (("action=log",), "log=null: give the folder that a server logs in"),
            (("action=train", EXPORT, "log=nowhere"), "nowhere: there is no log"),
            (("action=train", EXPORT, "keep=1"), "keep=1: must be at least 2"),
            (("action=train", EXPORT, "home_gate.force=true"), "home_gate.force=true: say why"),
            (
                ("action=train", EXPORT, "reward=long_term"),
                "does not say what a listen is worth later: it was made before",
            ),
            (("action=train", EXPORT, "policy.floor=2"), "policy: floor"),
            (("action=show", EXPORT), "user=null: give the id"),
            (("world=demo",), "world: has no carousel"),
            (("simulation.rounds=0",), "simulation.rounds=0: must be at least one"),
            (("simulation.seeds=[]",), "simulation.seeds=[]: must be at least one"),
        ],
    )
    def test_mistakes(self, tmp_path, arguments, said):
        assert said in refused(tmp_path, "home", *arguments)
        assert not (tmp_path / "policies").exists()
