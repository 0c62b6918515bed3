"""Limits, and the simulators that agents may be trained in."""

import json
import math
from dataclasses import replace

import pytest

from towers.errors import UserError
from towers.simulation.checks.verdict import FILE, Limit, Verdict, require_checked


def limit(figure, least=None, most=0.05, **more):
    return Limit(name="length", title="Session length", told="KS", figure=figure, least=least, most=most, **more)


@pytest.mark.parametrize(
    ("figure", "least", "most", "passed"),
    [(0.05, None, 0.05, True), (0.051, None, 0.05, False), (-0.02, -0.02, 0.02, True), (-0.03, -0.02, 0.02, False),
     (0.8, 0.8, None, True), (0.79, 0.8, None, False), (math.nan, None, 0.05, False), (math.inf, 0.8, None, False)],
)  # fmt: skip
def test_a_limit(figure, least, most, passed):
    assert limit(figure, least, most).passed is passed


@pytest.mark.parametrize(
    ("low", "high", "can_tell"),
    [(0.0, 0.04, True), (0.03, 0.06, True), (0.0, 0.06, False), (0.06, 0.5, True), (None, None, True),
     (math.nan, math.nan, False)],
)  # fmt: skip
def test_whether_a_sample_can_tell(low, high, can_tell):
    assert limit(0.04, low=low, high=high).can_tell is can_tell


def test_bounds_in_words():
    cases = [
        (None, 0.05, "at most 0.05"),
        (0.8, None, "at least 0.8"),
        (-0.02, 0.02, "±0.02"),
        (0.45, 0.55, "0.45 to 0.55"),
    ]
    assert all(limit(0.0, least, most).allowed == words for least, most, words in cases)
    assert limit(0.0612).line() == "Session length: 0.0612 (KS; at most 0.05)"
    assert limit(math.nan).line() == "Session length: not measured (KS; at most 0.05)"


def test_verdict():
    good, bad = Verdict(limits=(limit(0.01),)), Verdict(limits=(limit(0.01), limit(0.2)))
    assert good.passed
    assert good.words == "The simulator keeps all 1 limits."
    assert not bad.passed
    assert bad.words == "The simulator misses 1 of 2 limits: session length."


def test_a_classifier_that_is_too_weak():
    weak = Verdict(limits=(replace(limit(0.7, 0.8, None), name="real_from_shuffled"),))
    assert weak.words.endswith("The classifier failed its own trial: what it says of the simulator does not count.")


def written(folder, *limits):
    told = {"verdict": Verdict(limits=limits).to_json()}
    (folder / FILE).write_text(json.dumps(told, allow_nan=False))


def test_what_is_written_is_read(tmp_path):
    limits = (limit(0.01, low=0.0, high=0.02, noise=0.01), limit(-0.01, -0.02, 0.02))
    written(tmp_path, *limits)
    assert Verdict.read(tmp_path) == Verdict(limits=limits)
    written(tmp_path, limit(math.nan))
    assert math.isnan(Verdict.read(tmp_path).limits[0].figure)


def test_a_simulator_that_keeps_its_limits(tmp_path):
    written(tmp_path, limit(0.01))
    assert require_checked(tmp_path, force=False).passed


def test_a_simulator_that_misses_one(tmp_path):
    written(tmp_path, limit(0.01), limit(0.2))
    with pytest.raises(UserError, match=r"Session length: 0.2 \(KS; at most 0.05\).*force=true") as refused:
        require_checked(tmp_path, force=False)
    assert "\n" not in str(refused.value)
    assert "0.01" not in str(refused.value), "limits that are held are not named"
    assert not require_checked(tmp_path, force=True).passed


def test_a_simulator_without_a_check(tmp_path):
    with pytest.raises(UserError, match=r"was not checked.*action=check.*force=true"):
        require_checked(tmp_path, force=False)
    assert require_checked(tmp_path, force=True) is None


@pytest.mark.parametrize("text", ["{}", '{"verdict": {"limits": [{}]}}', '{"verdict": 3}', "["])
def test_another_file(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=FILE):
        require_checked(tmp_path, force=False)
