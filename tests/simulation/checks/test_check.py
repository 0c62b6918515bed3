"""The whole check of small logs."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.simulation.checks import logs
from tests.simulation.checks.logs import BEGIN_US, END_US, SPACE
from tests.simulation.checks.made import LISTENERS, SETTINGS, checked
from towers.errors import UserError
from towers.simulation.checks.check import CheckSettings, check
from towers.simulation.checks.segments import NEW_PLAYS, region_entropy, segments
from towers.simulation.checks.stated import stated
from towers.simulation.checks.verdict import Verdict

NAMES = [one.name for one in stated(SPACE, END_US)]


def test_every_limit_is_in_the_verdict():
    verdict = checked().verdict
    assert [one.name for one in verdict.limits] == [
        *NAMES, "real_from_simulated", "real_from_real", "real_from_shuffled", "skip_auc", "skip_calibration",
        "seen_listeners", "seen_period",
    ]  # fmt: skip
    missed = {one.name for one in verdict.failed}
    assert {"finish_by_familiarity", "skip_runs", "real_from_simulated"} <= missed
    assert not missed & {"skip_auc", "skip_calibration", "seen_listeners", "seen_period"}


def test_what_was_seen_and_what_was_not_measured_fails():
    verdict = replace(checked(), skips=None, seen_listeners=3, seen_period=True).verdict
    missed = {one.name: one.line() for one in verdict.failed}
    assert missed["seen_listeners"] == "Listeners seen before: 3 (listeners; at most 0)"
    assert "seen_period" in missed
    assert "not measured" in missed["skip_auc"]
    assert "not measured" in missed["skip_calibration"]


def test_what_chance_alone_misses():
    each = np.array([one.beyond_by_chance for one in checked().compared])
    assert checked().missed_by_chance == each.any(axis=0).mean()
    assert checked().missed_by_chance > 0.2, "so few listeners say little"


def test_it_is_written(tmp_path):
    checked().write(tmp_path, {"export": "made"})
    told = json.loads((tmp_path / "check.json").read_text(), parse_constant=pytest.fail)
    assert Verdict.read(tmp_path).words == checked().verdict.words
    assert told["about"] == {"export": "made"}
    assert [one["name"] for one in told["statistics"]] == NAMES
    assert len(told["statistics"][0]["real"]["values"]) == len(told["statistics"][0]["labels"])
    assert {one["name"] for one in told["segments"]} <= {"new", "light", "heavy", "specialists", "generalists"}
    assert told["classifier"]["simulated"]["auc"] == checked().told_apart.simulated.auc
    assert told["sizes"]["listeners"] == LISTENERS


def test_segments():
    """Groups are of known listeners, and new ones are a group of their own."""
    log = logs.listened(LISTENERS, seed=1)
    # Of three listeners most sessions before the period are not known.
    is_rare = (log.listener < 3) & (log.start_us < BEGIN_US) & (log.session % 20 > 0)
    facts = logs.heard(log.taken(~is_rare))
    found = {one.name: one.among for one in segments(facts, SPACE)}
    assert found["new"].sum() == 3
    assert found["new"].tolist() == (facts.plays_before < NEW_PLAYS).tolist()
    assert not any((found["new"] & among).any() for name, among in found.items() if name != "new")
    entropy = region_entropy(facts, SPACE)
    assert not (found["light"] & found["heavy"]).any()
    assert facts.plays_before[found["light"]].max() < facts.plays_before[found["heavy"]].min()
    assert entropy[found["specialists"]].max() < entropy[found["generalists"]].min()


def test_entropy_of_regions():
    """A single region has an entropy of 0, two evenly of log 2; being in no region counts as a region too."""
    region = SPACE.region
    one, other, nowhere = (int(np.flatnonzero(region == number)[0]) for number in (0, 1, -1))
    before = logs.log_of([(0, 0, [(one, 2), (one, 2)]), (1, 0, [(other, 2), (nowhere, 2)])])
    facts = logs.heard(logs.without_plays(before), before=before)
    assert region_entropy(facts, SPACE) == pytest.approx([0.0, np.log(2)])


def test_somebody_new_is_left_out():
    """A listener who has played nothing before cannot be simulated, and counts on neither side."""
    whole = logs.listened(4, seed=1)
    real, before = whole.between(BEGIN_US, END_US), whole.between(0, BEGIN_US)
    without = before.taken(before.listener > 0)
    found = check(real, [real], without, SPACE, BEGIN_US, END_US, skips=None, seen_listeners=0, seen_period=False,
                  settings=CheckSettings(resamples=2, splits=1, trees=5))  # fmt: skip
    assert found.sizes["listeners"] == 3
    assert found.sizes["sessions"] == len(real.taken(real.listener > 0).session_begins)
    assert found.told_apart.simulated.auc == 0.5, "a log is not told from itself"
    assert all(one.difference == 0 for one in found.compared if np.isfinite(one.difference))


def test_bad_input():
    whole = logs.listened(4, seed=1)
    real, before = whole.between(BEGIN_US, END_US), whole.between(0, BEGIN_US)
    facts = {"skips": None, "seen_listeners": 0, "seen_period": False, "settings": SETTINGS}
    with pytest.raises(UserError, match="no simulated plays"):
        check(real, [], before, SPACE, BEGIN_US, END_US, **facts)
    with pytest.raises(UserError, match="no listener of the check"):
        check(logs.without_plays(real), [real], before, SPACE, BEGIN_US, END_US, **facts)
    with pytest.raises(UserError, match="same listeners"):
        check(real, [logs.listened(5)], before, SPACE, BEGIN_US, END_US, **facts)
    with pytest.raises(ValueError, match="resamples"):
        CheckSettings(resamples=0)
