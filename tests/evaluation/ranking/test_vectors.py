import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.full_ranker import OrderedTiesContract, cases, made, products
from tests.contracts.ranker import make_task
from towers.evaluation.ranking import vectors
from towers.evaluation.ranking.rankers import RANKINGS, DenseRanker
from towers.evaluation.ranking.vectors import Candidates, VectorRanker


class Products:
    """Returns all scores at once; minus infinity for contents without a place."""

    def __init__(self, name, users, contents):
        self.name = name
        self._users, self._contents = users, contents

    def scores(self, positions):
        return products(self._users[positions], self._contents)


class TestDenseRanker(OrderedTiesContract):
    @staticmethod
    def build(task, name, users, contents):
        return DenseRanker(task, Products(name, users, contents), block_size=2)


class TestVectorRanker(OrderedTiesContract):
    @staticmethod
    def build(task, name, users, contents):
        return VectorRanker(task, name, users, contents, block_size=2, tile_size=3)


@given(case=cases(), tile_size=st.integers(1, 25), part_size=st.integers(1, 6), slice_size=st.integers(1, 4))
@pytest.mark.slow
def test_tiles_parts_and_slices_do_not_show(case, tile_size, part_size, slice_size):
    task, users, contents, k = made(case)
    dense = DenseRanker(task, Products("dense", users, contents)).rank(np.arange(len(users)), k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "PART_SIZE", part_size)
        patch.setattr(vectors, "SLICE_SIZE", slice_size)
        tiled = VectorRanker(task, "tiled", users, contents, tile_size=tile_size).rank(np.arange(len(users)), k)
    for ranking in RANKINGS:
        np.testing.assert_array_equal(tiled[ranking].rows, dense[ranking].rows)
        np.testing.assert_array_equal(tiled[ranking].scores, dense[ranking].scores)


@pytest.mark.parametrize("order", ["drawn", "rising", "falling"])
def test_a_catalogue_of_many_tiles(order):
    generator = np.random.default_rng(0)
    users, contents = (generator.standard_normal((size, 8), dtype=np.float32) for size in (70, 5000))
    if order != "drawn":
        users[:, 0] = 10
        contents = contents[np.argsort(contents[:, 0] if order == "rising" else -contents[:, 0])]
    histories = [generator.integers(5000, size=50).tolist() for _ in users]
    task = make_task(histories, [[0]] * len(users), 5000, cold=tuple(range(0, 5000, 7)))
    dense = DenseRanker(task, Products("dense", users, contents)).rank(np.arange(70), 20)
    tiled = VectorRanker(task, "tiled", users, contents, tile_size=300).rank(np.arange(70), 20)
    for ranking in RANKINGS:
        np.testing.assert_allclose(tiled[ranking].scores, dense[ranking].scores, rtol=1e-5)
        # A product may be rounded otherwise in another tile, and neighbours may then change places.
        is_same = tiled[ranking].rows == dense[ranking].rows
        assert is_same.mean() > 0.99


@pytest.mark.parametrize("large", [np.inf, 1e30])
def test_products_that_are_not_finite_are_refused(large):
    users = np.array([[large, large]], dtype=np.float32)
    with pytest.raises(ValueError, match=r"'huge'.*not finite"):
        VectorRanker(make_task([[]], [[0]], 1), "huge", users, users)


def test_half_precision_is_widened():
    halves = np.array([[1.0, 2.0], [2.0, 1.0]], dtype=np.float16)
    ranked = VectorRanker(make_task([[], []], [[0], [0]], 2), "half", halves, halves).rank(np.arange(2), 1)
    assert ranked["everything"].scores.dtype == np.float32
    assert ranked["everything"].scores.tolist() == [[5], [5]]


def test_threads_do_not_show(monkeypatch):
    generator = np.random.default_rng(0)
    users, contents = (generator.integers(-3, 4, (size, 4)).astype(np.float32) for size in (100, 900))
    task = make_task([[row] for row in range(100)], [[0]] * 100, 900)
    ranked = []
    for number in (1, 3):
        monkeypatch.setattr(vectors, "num_threads", lambda number=number: number)
        ranked.append(VectorRanker(task, "any", users, contents, tile_size=100).rank(np.arange(100), 10))
    for ranking in RANKINGS:
        np.testing.assert_array_equal(ranked[0][ranking].rows, ranked[1][ranking].rows)


def test_tiles_do_not_mix_warm_and_cold():
    task = make_task([[]], [[0]], 7, cold=(1, 4))
    candidates = Candidates.of(task, np.ones((7, 1), dtype=np.float32))
    assert candidates.rows.tolist() == [0, 2, 3, 5, 6, 1, 4, -1]
    assert candidates.tiles(3) == [(0, 3), (3, 5), (5, 7)]
