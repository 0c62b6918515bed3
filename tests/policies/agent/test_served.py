"""An agent over an export."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.simulation.listeners.logs import EXPORT
from towers.errors import UserError
from towers.policies.agent.features import CONTEXT, FEATURES
from towers.policies.agent.policy import AgentPolicy
from towers.policies.agent.policy_file import read_agent, write_agent
from towers.policies.agent.served import ServedAgent
from towers.policies.listener import Listener
from towers.retrieval.export import Export
from towers.simulation.environment.candidates import CandidateRetrieval
from towers.simulation.listeners.export_space import space_of


@pytest.fixture(scope="module")
def export():
    return Export(EXPORT)


@pytest.fixture(scope="module")
def space(export):
    """Contents of the export, as a simulator knows them."""
    found = space_of(export)
    return replace(found, plays=np.random.default_rng(0).integers(40, size=len(found)).astype(float))


@pytest.fixture(scope="module")
def policy(space):
    weights = np.random.default_rng(3).normal(size=(len(CONTEXT), len(FEATURES)))
    return AgentPolicy(contents=space, weights=weights, slots=4)


@pytest.fixture(scope="module")
def folder(policy, space, tmp_path_factory):
    found = tmp_path_factory.mktemp("served")
    write_agent(found, policy, space_id=space.space_id, content_ids=space.content_ids, has_contents=True)
    return found


@pytest.fixture(scope="module")
def agent(folder, export):
    return ServedAgent.open(folder, export)


@pytest.fixture(scope="module")
def listener(export):
    return Listener.of_row(export, 0)


def test_it_serves_what_was_trained(agent, policy, listener):
    """For the same observations the trained policy draws the same, with the same chances."""
    seen = agent.seen(listener, candidates=20)
    expected = policy.draw(seen, np.random.default_rng(6))
    found = agent.draw(listener, np.random.default_rng(6), candidates=20)
    np.testing.assert_array_equal(agent.own_row[found.slates], expected.slates)
    np.testing.assert_array_equal(found.propensities, expected.propensities)
    assert (found.propensities > 0).all()
    assert (found.propensities <= 1).all()
    np.testing.assert_array_equal(agent.own_row[agent.act(listener, candidates=20)], policy.act(seen)[0])


def test_candidates_are_those_of_its_training(agent, space, listener, export):
    heard = agent.heard(listener)
    assert len(heard)
    for now_us in (export.until_us, int(np.median(space.released_us[space.is_playable]))):
        found = agent.candidates(listener, heard, now_us, 12)
        (expected,) = CandidateRetrieval(space, 12).of(agent._query(heard)[None], np.array([now_us]))
        np.testing.assert_array_equal(found, expected[expected >= 0])


def test_what_is_disliked_never_comes(agent, listener):
    slate = agent.act(listener, candidates=20)
    standing = replace(listener.standing, disliked=np.sort(slate[:1]))
    assert slate[0] not in agent.act(replace(listener, standing=standing), candidates=20)


def test_what_it_does_not_know_is_worth_least(folder, export, listener):
    file = read_agent(folder)
    ids = ("somewhere else", *file.content_ids[1:])
    agent = ServedAgent(replace(file, content_ids=ids), export)
    rows = np.arange(len(export.contents))
    worth = agent.worth(listener, rows)
    assert worth.argmin() == export.content_ids.get(file.content_ids[0], -1)
    assert np.isfinite(worth).all()


def test_an_export_of_another_space(folder):
    other = Export(EXPORT.parents[1] / "format-3" / "export")
    with pytest.raises(UserError, match=r"is of space .* train one in this space"):
        ServedAgent.open(folder, other)


def test_too_few_contents(folder, export):
    file = read_agent(folder)
    with pytest.raises(UserError, match="has 0 playable contents that the agent knows"):
        ServedAgent(replace(file, content_ids=tuple(f"x{one}" for one in file.content_ids)), export)


@pytest.mark.slow
def test_it_needs_no_torch(folder, agent, listener):
    """A process that cannot import torch draws the same slate."""
    code = f"""
import sys
sys.modules["torch"] = sys.modules["pytorch_lightning"] = None
from pathlib import Path
import numpy as np
from towers.policies.agent.served import ServedAgent
from towers.policies.listener import Listener
from towers.retrieval.export import Export
export = Export(Path({str(EXPORT)!r}))
drawn = ServedAgent.open(Path({str(folder)!r}), export).draw(Listener.of_row(export, 0), np.random.default_rng(6))
assert not [name for name in sys.modules if name.startswith("towers.simulation")]
print(drawn.slates[0].tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(agent.draw(listener, np.random.default_rng(6)).slates[0].tolist())
