import numpy as np
import pytest
import torch

from tests.contracts.full_ranker import FullRankerContract
from tests.contracts.ranker import make_task
from towers.evaluation.ranking.rankers import RANKINGS
from towers.evaluation.ranking.vectors import VectorRanker
from towers.training.torch_ranker import TorchRanker


class TestTorchRanker(FullRankerContract):
    @staticmethod
    def build(task, name, users, contents):
        return TorchRanker(task, name, users, contents, device=torch.device("cpu"), block_size=2, tile_size=3)


@pytest.mark.gpu
class TestTorchRankerOnCuda(FullRankerContract):
    @staticmethod
    def build(task, name, users, contents):
        return TorchRanker(task, name, users, contents, device=torch.device("cuda"), block_size=2, tile_size=3)


def assert_same_lists(device: torch.device) -> None:
    """Products are rounded in another way on another device, so that neighbours may change places."""
    generator = np.random.default_rng(0)
    users, contents = (generator.standard_normal((size, 16), dtype=np.float32) for size in (40, 3000))
    histories = [generator.integers(3000, size=30).tolist() for _ in users]
    task = make_task(histories, [[0]] * len(users), 3000, cold=tuple(range(0, 3000, 5)))
    expected = VectorRanker(task, "numpy", users, contents).rank(np.arange(40), 50)
    ranked = TorchRanker(task, "torch", users, contents, device=device, tile_size=256).rank(np.arange(40), 50)
    for ranking in RANKINGS:
        np.testing.assert_allclose(ranked[ranking].scores, expected[ranking].scores, rtol=1e-4)
        is_same = ranked[ranking].rows == expected[ranking].rows
        assert is_same.mean() > 0.99


def test_gives_the_lists_of_the_vector_ranker():
    assert_same_lists(torch.device("cpu"))


def test_leaves_the_precision_of_products_as_it_was():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert_same_lists(torch.device("cpu"))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.gpu
def test_gives_the_lists_of_the_vector_ranker_on_cuda():
    assert_same_lists(torch.device("cuda"))
