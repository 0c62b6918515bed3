"""The divergence of a list's classes from a history's."""

import numpy as np
import pytest

from towers.features.calibration import calibration_kl


def test_the_divergence_is_what_the_paper_says():
    p, q = np.array([0.75, 0.25, 0.0]), np.array([0.25, 0.5, 0.25])
    mixed = 0.9 * q + 0.1 * p
    expected = 0.75 * np.log(0.75 / mixed[0]) + 0.25 * np.log(0.25 / mixed[1])
    assert float(calibration_kl(p, q, alpha=0.1)) == pytest.approx(expected)


def test_a_list_without_the_history_s_classes_is_as_far_away_as_can_be():
    p, q = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])
    assert calibration_kl(p, q) == pytest.approx([np.log(100), 0.0])
