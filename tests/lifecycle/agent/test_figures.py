"""Figures of an evaluation, for listeners with known differences."""

import json

import pytest

from tests.lifecycle.agent.made import LISTENERS, evaluation
from towers.simulation.environment.comparing import RETURN


def test_the_agent_beside_each_baseline():
    """Against greedy half of the listeners gain 2 days and half lose 1."""
    beside = evaluation().judged.against["greedy"]
    assert beside[RETURN].difference == pytest.approx((2 - 1) / 2)
    assert beside["clicks"].ratio == 1.0
    means = evaluation().judged.policies
    assert means["agent"][RETURN].mean == pytest.approx(means["greedy"][RETURN].mean + 0.5)
    assert means["agent"][RETURN].low < means["agent"][RETURN].mean < means["agent"][RETURN].high
    assert evaluation().worlds[1].against["greedy"][RETURN].difference == pytest.approx(0.25)


def test_segments_have_gains_of_their_own():
    found = {one.name: one for one in evaluation().judged.segments}
    assert {name: one.listeners for name, one in found.items()} == {"new": LISTENERS // 2, "others": LISTENERS // 2}
    assert found["new"].against["greedy"].difference == pytest.approx(-1)
    assert found["others"].against["greedy"].difference == pytest.approx(2)


def test_what_was_shown():
    agent, greedy = evaluation().told
    assert agent.shown[0].regions == {"Slow <jazz>": 3 / 4, "Fast folk": 1 / 4, "in no region": 0.0}
    assert greedy.shown[0].regions["Slow <jazz>"] == 1 / 4
    assert [one.new_artists for one in agent.shown] == [3 / 8, 1 / 2, 1 / 4]
    assert agent.shown[0].visited == 2


def test_it_is_kept_as_json():
    told = json.loads(json.dumps(evaluation().to_json(), allow_nan=False))
    assert told["worlds"][0]["against"]["greedy"][RETURN]["listeners"] == LISTENERS
    assert told["learning"]["return"] == [1.0, None, 3.0]
