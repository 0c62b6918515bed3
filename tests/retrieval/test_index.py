import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest

from tests.contracts.index import IndexContract
from towers.errors import UserError
from towers.manifest import read_json
from towers.publishing.index import IvfSettings, recall_of_index
from towers.retrieval.files import CONTENT_VECTORS, INDEX_EFFORT
from towers.retrieval.index import ExactIndex, FaissIndex, recall_of, share_found


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


def test_exact_search_in_blocks_is_the_search_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.integers(-2, 3, (300, 3)).astype(np.float32)
    allowed = [generator.random(300) < share for share in (0.1, 0.7, 1)]
    whole = [ExactIndex(vectors).search(vectors, 7, mask) for mask in allowed]
    monkeypatch.setattr("towers.retrieval.index.CONTENT_BLOCK", 16)
    monkeypatch.setattr("towers.retrieval.index.QUERY_BLOCK", 32)
    for mask, (rows, scores) in zip(allowed, whole, strict=True):
        in_blocks = ExactIndex(vectors).search(vectors, 7, mask)
        np.testing.assert_array_equal(in_blocks[0], rows)
        np.testing.assert_array_equal(in_blocks[1], scores)


def test_no_queries_give_no_lists() -> None:
    rows, scores = ExactIndex(clustered(5)).search(np.zeros((0, 16), np.float32), 3, np.ones(5, bool))
    assert rows.shape == scores.shape == (0, 3)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return clustered(3_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> Path:
    export = tmp_path_factory.mktemp("export")
    np.save(export / CONTENT_VECTORS, vectors)
    mapped = np.load(export / CONTENT_VECTORS, mmap_mode="r")
    IvfSettings(min_contents=0, num_lists=32, num_probes=1, min_recall=0.99).build(mapped, export / "index", "space")
    return export / "index"


class TestCompressedIndex:
    """What only an index has that ranks its candidates anew: 3,000 vectors in 32 cells."""

    def test_the_same_vectors_give_the_same_files(self, folder: Path, vectors: np.ndarray, tmp_path: Path) -> None:
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(2)  # nor does it depend on them
        try:
            IvfSettings(min_contents=0, num_lists=32, num_probes=1, min_recall=0.99).build(vectors, tmp_path, "space")
        finally:
            faiss.omp_set_num_threads(threads)
        assert {path.name for path in folder.iterdir()} == {
            "cells.bin", "cells.npy", "contents.faiss", "effort.json", "space_id",
        }  # fmt: skip
        for path in folder.iterdir():
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name

    def test_effort_is_what_the_recall_needs(self, folder: Path, vectors: np.ndarray, tmp_path: Path) -> None:
        chosen = read_json(folder / INDEX_EFFORT)
        assert 0.99 <= chosen["recall@10"] <= 1
        assert recall_of_index(folder, "space", vectors) >= 0.99
        IvfSettings(min_contents=0, num_lists=32, num_probes=1, min_recall=0.5).build(vectors, tmp_path, "space")
        assert read_json(tmp_path / INDEX_EFFORT)["num_probes"] < chosen["num_probes"] <= 32

    def test_scores_are_of_the_vectors_beside_it(self, folder: Path, vectors: np.ndarray) -> None:
        rows, scores = FaissIndex(folder, "space").search(vectors[:3], 10, np.ones(3_000, bool))
        np.testing.assert_allclose(scores, np.einsum("qkd,qd->qk", vectors[rows], vectors[:3]), rtol=1e-5)

    @pytest.mark.parametrize("share", [0.5, 0.05])
    def test_a_filter_keeps_the_recall(self, folder: Path, vectors: np.ndarray, share: float) -> None:
        allowed = np.random.default_rng(0).random(3_000) < share
        rows, _ = FaissIndex(folder, "space").search(vectors[:100], 10, allowed)
        expected, _ = ExactIndex(vectors).search(vectors[:100], 10, allowed)
        assert allowed[rows].all()
        assert share_found(expected, rows) >= 0.98

    def test_equal_contents_go_to_the_lower_row(self, tmp_path: Path) -> None:
        vectors = np.tile(clustered(10), (4, 1))
        IvfSettings(min_contents=0, num_lists=1, num_probes=1).build(vectors, tmp_path, "space")
        rows, _ = FaissIndex(tmp_path, "space", vectors).search(vectors[3:4], 4, np.ones(40, bool))
        assert rows.tolist() == [[3, 13, 23, 33]]

    @pytest.mark.parametrize("name", ["cells.bin", "cells.npy", "contents.faiss", "effort.json"])
    @pytest.mark.parametrize("keep", [None, 0, 0.5])
    def test_a_damaged_file_is_named(
        self, folder: Path, vectors: np.ndarray, tmp_path: Path, name: str, keep: float | None
    ) -> None:
        damaged = Path(shutil.copytree(folder, tmp_path / "index"))
        contents = (damaged / name).read_bytes()
        if keep is None:
            (damaged / name).unlink()
        else:
            (damaged / name).write_bytes(contents[: int(keep * len(contents))])
        with pytest.raises(UserError, match=name):
            FaissIndex(damaged, "space", vectors)

    def test_vectors_of_another_export_are_refused(self, folder: Path, vectors: np.ndarray) -> None:
        with pytest.raises(UserError, match="2,999 vectors"):
            FaissIndex(folder, "space", vectors[1:])


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
