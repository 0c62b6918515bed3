"""Figures of a drift that can be computed by hand."""

import numpy as np
import pytest

from tests.publishing.test_procrustes import fitted, unit
from tests.retrieval.test_rotation import orthogonal, rotation
from towers.publishing import drift
from towers.publishing.drift import drift_between, overlap_of_neighbours

TURN = rotation("new", "old", np.array([[0.0, -1.0], [1.0, 0.0]]))
"""A quarter turn, counter-clockwise."""


def test_a_quarter_turn_apart():
    earlier = np.array([[0, 1], [0, 1], [-1, 0], [0.6, 0.8]], np.float32)
    new = np.array([[9, 9], [1, 0], [0, 1], [1, 0]], np.float32)
    # East twice and north once: the turned ones are north twice and west, as the earlier ones are.
    found = drift_between(earlier, new, np.array([0, 1, 2]), np.array([1, 3, 2]), TURN)
    assert found.contents == 3
    assert found.neighbour_overlap == 1
    assert found.cosine_before_map == 0
    assert found.cosine_after_map == pytest.approx(1)
    # (2/3, 1/3) and (-1/3, 2/3) are apart by the square root of 1 + 1/9.
    assert found.centroid_shift_before_map == pytest.approx(np.sqrt(10) / 3)
    assert found.centroid_shift_after_map == pytest.approx(0)
    assert found.norm_shift == 0


def test_a_map_changes_no_neighbour_and_lengths_show():
    earlier = unit(300, 6, 0).astype(np.float32)
    turned = (2 * earlier @ orthogonal(6, 1)).astype(np.float32)
    rows = np.arange(300)
    found = drift_between(earlier, turned, rows, rows, fitted(turned, earlier))
    assert found.neighbour_overlap == pytest.approx(1, abs=2e-3)  # equal but for rounding
    assert found.norm_shift == pytest.approx(1, abs=1e-6)


def test_neighbours_that_changed_sides(monkeypatch):
    """Contents are at 0, 1, 2 and 3 on an arc; then the second and the last have changed places."""
    angles = np.pi / 8 * np.arange(4)
    first = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    second = first[[0, 3, 2, 1]]
    # The nearest three of each are all others.
    assert overlap_of_neighbours(first, second, np.arange(4)) == 1
    monkeypatch.setattr(drift, "NEIGHBOURS", 2)
    # Of the first: the second and the third, then the last and the third.
    assert overlap_of_neighbours(first, second, np.array([0])) == 1 / 2


def test_one_content_has_no_neighbours():
    assert overlap_of_neighbours(np.ones((1, 2)), np.ones((1, 2)), np.array([0])) == 1


def test_of_many_a_sample_the_same_each_time(monkeypatch):
    monkeypatch.setattr(drift, "AT_MOST", 40)
    monkeypatch.setattr(drift, "QUERIES", 10)
    earlier, new, rows = unit(100, 4, 0), unit(100, 4, 1), np.arange(100)
    found = [drift_between(earlier, new, rows, rows, fitted(new, earlier)) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0].contents == 40
