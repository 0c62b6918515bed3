"""Logs: refusals, and rows as slates."""

import numpy as np
import pytest

from tests.evaluation.off_policy.logs import log_of

ROWS = {
    "requests": [7, 3, 7, 3, 9], "listeners": [1, 2, 1, 2, 1], "slots": [1, 0, 0, 1, 0],
    "propensities": [0.5, 0.25, 1.0, 0.5, 0.5], "new_propensities": [1.0, 0.5, 0.5, 0.0, 1.0],
    "rewards": [1, 2, 3, 4, 5], "kinds": [0, 1, 2, 0, 1],
}  # fmt: skip


def test_rows_in_any_order_are_the_same_slates():
    slates = log_of(**ROWS).slates()
    assert slates.listeners.tolist() == [2, 1, 1]
    assert slates.rewards.tolist() == [[2, 4], [3, 1], [5, 0]]
    assert slates.ratios.tolist() == [[2, 0], [0.5, 2], [2, 1]]
    assert slates.weights().tolist() == [[2, 0], [0.5, 1], [2, 2]]
    assert slates.weights("slate").tolist() == [[0, 0], [1, 1], [2, 2]]
    assert slates.kinds is not None
    assert slates.kinds.tolist() == [[1, 0], [2, 0], [1, -1]]
    assert slates.is_shown.tolist() == [[True, True], [True, True], [True, False]]


def test_only_the_first_slots():
    slates = log_of(**ROWS).slates(1)
    assert slates.rewards.tolist() == [[2], [3], [5]]
    assert slates.slot_ratios is not None


def test_production_weighs_one():
    own = log_of(**ROWS).slates().on_policy()
    assert (own.weights() == 1).all()
    assert (own.weights("slot") == 1).all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"propensities": [0.5, 0.25, 0.0, 0.5, 0.5]}, "above 0 and at most 1, got 0.0"),
        ({"propensities": [0.5, 0.25, 1.3, 0.5, 0.5]}, "got 1.3"),
        ({"propensities": [0.5, 0.25, np.nan, 0.5, 0.5]}, "got nan"),
        ({"new_propensities": [0.5, 0.25, -0.1, 0.5, 0.5]}, "new_propensities must be at least 0"),
        ({"rewards": [1, 2, np.inf, 4, 5]}, "rewards must be finite, and 1 rows"),
        ({"guards": {"skips": [0, 0, np.nan, 0, 0]}}, "skips must be finite"),
        ({"estimates": [1, 1, 1, 1, 1]}, "new_estimates belong together"),
        ({"slots": [2, 0, 0, 1, 0]}, "request 7: slot 1 is missing"),
        ({"slots": [0, 0, 0, 1, 0]}, "request 7: slot 1 is missing, or one stands twice"),
        ({"listeners": [1, 2, 2, 2, 1]}, "two listeners"),
    ],
)
def test_what_is_wrong_is_refused(changed, words):
    with pytest.raises(ValueError, match=words):
        log_of(**{**ROWS, **changed}).slates()


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing was logged"):
        log_of(propensities=[], new_propensities=[], rewards=[]).slates()
