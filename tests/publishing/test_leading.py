"""Leading dimensions, and the lists by these."""

import numpy as np
import pytest

from tests.publishing.listening import unit
from tests.publishing.sink_export import sink_export
from towers.publishing import leading as module
from towers.publishing.leading import K, leading, nearest, share_kept, share_of_export, spread


def test_leading_dimensions_are_unit_vectors():
    vectors = np.array([[3, 4, 12], [0, 0, 1]], np.float32) / np.float32(13)
    np.testing.assert_allclose(leading(vectors, 2), [[0.6, 0.8], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(leading(vectors[:1], 3), vectors[:1], atol=1e-6)


def test_rows_are_spread_evenly():
    vectors = np.arange(10, dtype=np.float32)[:, None]
    assert spread(vectors, 4)[:, 0].tolist() == [0, 3, 6, 9]
    assert spread(vectors, 20)[:, 0].tolist() == list(range(10))
    assert spread(vectors[:0]).shape == (0, 1)


@pytest.mark.parametrize("block", [7, 1_000])
def test_the_nearest_are_those_of_all_products(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    draws = np.random.default_rng(0)
    users, contents = (unit(draws.normal(size=(rows, 6))).astype(np.float32) for rows in (5, 100))
    allowed = draws.random(100) < 0.6
    scores = np.where(allowed, leading(users, 3) @ leading(contents, 3).T, -np.inf)
    np.testing.assert_array_equal(nearest(users, contents, allowed, 3), np.argsort(-scores, axis=1)[:, :K])


def test_where_there_are_fewer_the_list_ends_early():
    contents = np.eye(3, dtype=np.float32)
    found = nearest(contents[:1], contents, np.array([True, False, True]), 3)
    assert found[0, :3].tolist() == [0, 2, -1]
    assert share_kept(found, contents[:1], contents, np.array([True, False, True]), [1, 3]) == {1: 1.0, 3: 1.0}


def test_a_share_that_can_be_counted():
    """Half of forty contents lie along the first dimension, by which they are all alike, so that the first twenty are
    shown.

    The listener stands along the second, along which the last ten of these and ten others are the nearest.
    """
    contents = np.zeros((40, 3), np.float32)
    contents[:20, 0], contents[20:, 2] = 1, 1
    contents[10:30, 1] = 1
    users = np.array([[0.1, 1, 0]], np.float32)
    allowed = np.ones(40, bool)
    whole = nearest(users, contents, allowed, 3)
    assert sorted(whole[0].tolist()) == list(range(10, 30))
    assert share_kept(whole, users, contents, allowed, [1]) == {1: 0.5}


def test_of_an_export_only_what_can_be_played_counts(tmp_path):
    export = sink_export(tmp_path, "1")
    assert share_of_export(export, export.dim) == 1
    assert 0 < share_of_export(export, 2) < share_of_export(export, 6) < 1
    assert share_of_export(sink_export(tmp_path, "2", num_users=0), 2) == 1
