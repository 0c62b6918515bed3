"""Predicted skips: calibration as fractions, and the distance to a classifier."""

from dataclasses import replace

import numpy as np
import pytest

from tests.simulation.checks import logs
from tests.simulation.checks.made import checked, skips_of
from towers.errors import UserError
from towers.simulation.checks.resampling import draws
from towers.simulation.checks.skip_prediction import skip_prediction

DRAWN = draws(30, 1, resamples=10, splits=1, seed=0)


def data():
    return skips_of(logs.heard(logs.listened(30, seed=1)).log)


def judged(given):
    return skip_prediction(given, DRAWN, 0, lambda step: None)


def test_chances_that_are_right():
    found = checked().skips
    assert found.calibration_error < 0.03
    assert found.calibration_bounds[0] <= found.calibration_error <= found.calibration_bounds[1]
    assert found.behind < 0.01, "nobody knows more than what the chances were made of"
    assert found.behind == found.peer_auc - found.auc
    assert len(found.expected) == len(found.observed) == 10
    assert list(found.expected) == sorted(found.expected)


def test_chances_that_are_off():
    """All chances are .2 above the truth."""
    given = data()
    came = np.arange(len(given.is_skip)) % 10 < 3
    found = judged(replace(given, predicted=np.full(len(came), 0.5), is_skip=came))
    assert found.calibration_error == pytest.approx(0.2, abs=1e-3)
    assert found.auc == 0.5, "equal chances do not rank"


def test_a_classifier_that_knows_more():
    given = data()
    found = judged(replace(given, predicted=np.random.default_rng(1).random(len(given.predicted))))
    assert found.behind > 0.2
    assert found.behind_bounds[0] > 0.1


def test_nothing_to_predict():
    given = data()
    with pytest.raises(UserError, match="all or none of the plays"):
        judged(replace(given, is_skip=np.ones(len(given.is_skip), bool)))
