from pathlib import Path

import numpy as np
import pytest

from tests.contracts.index import IndexContract
from towers.errors import UserError
from towers.publishing.index import IvfSettings, recall_of_index
from towers.retrieval.index import ExactIndex, FaissIndex, recall_of


class TestExactIndex(IndexContract):
    @pytest.fixture
    def build(self):
        return ExactIndex


class TestFlatFaissIndex(IndexContract):
    @pytest.fixture
    def build(self, tmp_path: Path):
        def build(vectors: np.ndarray) -> FaissIndex:
            IvfSettings(min_contents=10_000, num_lists=4, num_probes=4).build(vectors, tmp_path, "space")
            return FaissIndex(tmp_path, "space")

        return build


class TestCompressedFaissIndex(IndexContract):
    @pytest.fixture
    def build(self, tmp_path: Path):
        def build(vectors: np.ndarray) -> FaissIndex:
            # All cells are searched, so that the toy's answer is exact.
            IvfSettings(min_contents=0, num_lists=2, num_probes=2).build(vectors, tmp_path, "space")
            return FaissIndex(tmp_path, "space", vectors)

        return build


def clustered(rows: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(20, 16))
    vectors = centres[generator.integers(0, 20, rows)] + 0.3 * generator.normal(size=(rows, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("share", [0.01, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("k", [1, 7, 500])
def test_exact_search_is_a_stable_sort_of_all(share: float, k: int) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.integers(-2, 3, (300, 3)).astype(np.float32)  # many ties
    allowed = generator.random(300) < share
    rows, scores = ExactIndex(vectors).search(vectors[:5], k, allowed)
    products = np.where(allowed, vectors[:5] @ vectors.T, -np.inf)
    expected = np.argsort(-products, axis=1, kind="stable")[:, :k]
    for query in range(5):
        found = expected[query][allowed[expected[query]]]
        assert rows[query][rows[query] >= 0].tolist() == found.tolist()
        np.testing.assert_array_equal(scores[query][: len(found)], products[query][found])


def test_the_same_vectors_give_the_same_file(tmp_path: Path) -> None:
    settings = IvfSettings(min_contents=0, num_lists=8, num_probes=2)
    for name in ("a", "b"):
        settings.build(clustered(2_000), tmp_path / name, "space")
    assert (tmp_path / "a" / "contents.faiss").read_bytes() == (tmp_path / "b" / "contents.faiss").read_bytes()


def test_recall_is_measured_against_exact_search(tmp_path: Path) -> None:
    vectors = clustered(2_000)
    IvfSettings(min_contents=0, num_lists=32, num_probes=1).build(vectors, tmp_path / "few", "space")
    IvfSettings(min_contents=0, num_lists=32, num_probes=32, num_candidates=500).build(
        vectors, tmp_path / "all", "space"
    )
    assert recall_of_index(tmp_path / "few", "space", vectors) < 0.999
    assert recall_of_index(tmp_path / "all", "space", vectors) > 0.999


@pytest.mark.parametrize("rows", [0, 1, 4, 9])
def test_a_catalogue_smaller_than_k_is_found_whole(rows: int) -> None:
    vectors = clustered(rows)
    assert recall_of(ExactIndex(vectors), ExactIndex(vectors), vectors, 10) == 1


def test_more_lists_than_the_catalogue_can_fill(tmp_path: Path) -> None:
    vectors = clustered(100)
    IvfSettings(min_contents=0, num_lists=512, num_probes=16).build(vectors, tmp_path, "space")
    assert recall_of_index(tmp_path, "space", vectors) == 1  # two lists, both searched


def test_another_space_is_refused(tmp_path: Path) -> None:
    IvfSettings(min_contents=10, num_lists=1, num_probes=1).build(clustered(5), tmp_path, "space")
    with pytest.raises(UserError, match="must not be mixed"):
        FaissIndex(tmp_path, "another")
