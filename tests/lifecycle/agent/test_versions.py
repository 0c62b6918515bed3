"""Versions of agents that cannot be opened."""

import pytest

from tests.policies.agent.invented import CONTENTS, agent
from towers.errors import UserError
from towers.lifecycle.agent.versions import ABOUT, CURVE, POLICY, Trained, name_of, open_agent
from towers.manifest import point_to, write_json
from towers.policies.agent.policy_file import write_agent

TRAINED = Trained(
    simulator="s", simulator_passed=True, space_id="made", export="e", store=None, members=(0, 2), listeners=3,
    days=7.0, slate=4, candidates=9, own_pull=5.0, weights={"skips": -0.1}, seed=0, learner="Reinforce", seconds=1.0,
    environment={},
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """An agent with one version."""
    (tmp_path / "abc" / POLICY).mkdir(parents=True)
    write_agent(tmp_path / "abc" / POLICY, agent(), space_id="made", content_ids=[f"c{row}" for row in range(CONTENTS)])
    write_json(tmp_path / "abc" / ABOUT, TRAINED.to_json())
    point_to(tmp_path / "current", tmp_path / "abc")
    return tmp_path


def test_it_is_read_back(folder):
    (folder / "abc" / CURVE).write_text("step,return,skips\n1,2.5,\n2,3,4\n")
    for found in (open_agent(folder), open_agent(folder / "abc"), open_agent(folder, "abc")):
        assert found.trained == TRAINED
        assert found.folder.name == "abc"
    curve = open_agent(folder).curve
    assert (curve["step"], curve["return"]) == ([1, 2], [2.5, 3])
    assert curve["skips"][0] != curve["skips"][0], "not a number where none was taken"


@pytest.mark.parametrize(
    ("change", "version", "said"),
    [
        (None, "xyz", "no version xyz here; train one"),
        ({"format": 9}, None, "has another format than 1; train the agent again"),
        ({"more": 1}, None, "changed since it was written; train the agent again"),
    ],
)
def test_what_cannot_be_opened(folder, change, version, said):
    if change is not None:
        write_json(folder / "abc" / ABOUT, TRAINED.to_json() | change)
    with pytest.raises(UserError, match=said):
        open_agent(folder, version)


def test_a_name_is_of_all_that_decides():
    assert name_of({"seed": 0}) == name_of({"seed": 0}) != name_of({"seed": 1})
