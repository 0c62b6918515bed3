"""A policy that was written chooses as the one in memory."""

from dataclasses import replace

import numpy as np
import pytest

from tests.policies.agent.invented import CONTENTS, agent, listeners
from towers.errors import UserError
from towers.policies.agent.features import CONTEXT
from towers.policies.agent.policy import READ, Chance
from towers.policies.agent.policy_file import ABOUT, ARRAYS, read_agent, write_agent

IDS = [f"c{row}" for row in range(CONTENTS)]


@pytest.fixture
def policy():
    rng = np.random.default_rng(2)
    chance = Chance(weights=rng.normal(size=len(READ)), of_context=rng.normal(size=len(CONTEXT)))
    return replace(agent(), chance=chance, long_term=rng.random(CONTENTS), temperature=0.7, recovery_hours=3.0)


@pytest.mark.parametrize("has_contents", [False, True])
def test_it_chooses_the_same(policy, tmp_path, has_contents):
    write_agent(tmp_path, policy, space_id="made", content_ids=IDS, has_contents=has_contents)
    found = read_agent(tmp_path) if has_contents else read_agent(tmp_path, policy.contents, IDS)
    assert (found.space_id, found.content_ids) == ("made", tuple(IDS))
    drawn, again = (one.draw(listeners(5), np.random.default_rng(7)) for one in (policy, found.policy))
    np.testing.assert_array_equal(drawn.slates, again.slates)
    np.testing.assert_array_equal(drawn.propensities, again.propensities)
    np.testing.assert_array_equal(policy.act(listeners(5)), found.policy.act(listeners(5)))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / ARRAYS).write_bytes(b"nothing"), "changed since it was written"),
        (lambda folder: (folder / ABOUT).unlink(), "no such file"),
        (lambda folder: (folder / ABOUT).write_text((folder / ABOUT).read_text().replace("0.7", "0.8")), "changed"),
    ],
)
def test_a_damaged_file(policy, tmp_path, damage, said):
    write_agent(tmp_path, policy, space_id="made", content_ids=IDS, has_contents=True)
    damage(tmp_path)
    with pytest.raises(UserError, match=said):
        read_agent(tmp_path)


def test_other_contents(policy, tmp_path):
    write_agent(tmp_path, policy, space_id="made", content_ids=IDS)
    with pytest.raises(UserError, match="has no contents of its own"):
        read_agent(tmp_path)
    with pytest.raises(UserError, match="other contents"):
        read_agent(tmp_path, policy.contents, IDS[::-1])
