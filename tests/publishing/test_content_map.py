"""The map of the space: neighbours stay near each other, and the same vectors give the same bytes."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from towers.publishing import content_map as module
from towers.publishing.content_map import content_map

CLUSTERS = 4


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Draws unit vectors around four orthogonal directions, and the direction of each."""
    random = np.random.default_rng(0)
    of = np.arange(160) % CLUSTERS
    vectors = np.eye(8)[of] + 0.05 * random.normal(size=(160, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), of


def nearest_is_of_the_same(places: np.ndarray, of: np.ndarray) -> float:
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((of[distances.argmin(axis=1)] == of).mean())


def test_contents_of_a_cluster_stand_together(clusters):
    vectors, of = clusters
    places = content_map(vectors)
    assert places.shape == (160, 2)
    assert places.dtype == np.float32
    assert np.abs(places).max() == 1
    assert nearest_is_of_the_same(places, of) == 1


def test_the_same_bytes_on_one_thread_and_on_two(clusters):
    vectors, _ = clusters
    with threadpool_limits(2):
        first = content_map(vectors)
    assert content_map(vectors).tobytes() == first.tobytes()


def test_those_that_are_not_sampled_stand_where_their_neighbours_do(clusters, monkeypatch):
    vectors, of = clusters
    monkeypatch.setattr(module, "MAX_EMBEDDED", 60)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert nearest_is_of_the_same(content_map(vectors), of) == 1


@pytest.mark.parametrize("count", [0, 1, 2, 49])
def test_a_few_are_placed_by_their_principal_components(count):
    vectors = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
    places = content_map(vectors)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    if count > 2:
        # Of centred vectors the components are as long as their singular values, over the largest place.
        centred = vectors - vectors.mean(axis=0)
        lengths = np.linalg.norm(places, axis=0)
        expected = np.linalg.svd(centred, compute_uv=False)[:2]
        np.testing.assert_allclose(lengths / lengths[0], expected / expected[0], rtol=1e-5)


def test_one_dimension_is_a_line():
    places = content_map(np.array([[1.0], [-1.0], [1.0]], np.float32))
    assert places[:, 1].tolist() == [0, 0, 0]
    assert places[0, 0] == places[2, 0] != places[1, 0]
