import shutil
from dataclasses import replace
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
from towers.retrieval.inverted import CompressedIndex, IvfFlatIndex


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


class TestIvfFlatIndexOfAToy(IndexContract):
    @pytest.fixture
    def build(self, tmp_path: Path):
        def build(vectors: np.ndarray) -> FaissIndex:
            # One cell, so that the toy's answer is exact.
            IvfSettings(min_contents=0, num_lists=2, num_probes=2, min_recall=1.0, most_scanned=512).build(
                vectors, tmp_path, "space"
            )
            index = FaissIndex(tmp_path, "space", vectors)
            assert isinstance(index.searched, IvfFlatIndex)
            return index

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
    """Properties of an index that ranks its candidates again: 3,000 vectors in 32 cells."""

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


WITHOUT_CODES = IvfSettings(min_contents=0, num_lists=32, num_probes=1, min_recall=0.99, most_scanned=600)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> Path:
    export = tmp_path_factory.mktemp("plain")
    np.save(export / CONTENT_VECTORS, vectors)
    WITHOUT_CODES.build(np.load(export / CONTENT_VECTORS, mmap_mode="r"), export / "index", "space")
    return export / "index"


class TestIvfFlatIndex:
    """Properties of an index without codes: 3,000 vectors in 32 cells, about half of them searched."""

    def test_the_same_vectors_give_the_same_files(self, plain: Path, vectors: np.ndarray, tmp_path: Path) -> None:
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(2)
        try:
            WITHOUT_CODES.build(vectors, tmp_path, "space")
        finally:
            faiss.omp_set_num_threads(threads)
        assert {path.name for path in plain.iterdir()} == {
            "cells.npy", "centroids.npy", "effort.json", "members.npy", "space_id", "vectors.npy",
        }  # fmt: skip
        for path in plain.iterdir():
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name

    def test_effort_is_what_the_recall_needs(self, plain: Path, vectors: np.ndarray) -> None:
        chosen = read_json(plain / INDEX_EFFORT)
        assert recall_of_index(plain, "space", vectors) >= 0.99
        index = FaissIndex(plain, "space").searched
        assert isinstance(index, IvfFlatIndex)
        assert 1 <= chosen["num_probes"] * index.longest <= WITHOUT_CODES.most_scanned
        # As much is found as was promised, though the build counted it without searching.
        queries = vectors[np.linspace(0, 2_999, 500).astype(int)]
        everything = np.ones(3_000, bool)
        expected = ExactIndex(vectors).search(queries, 11, everything)[0][:, 1:]
        found = share_found(expected, index.search(queries, 11, everything)[0])
        assert found == pytest.approx(chosen["recall@10"], abs=1e-3)

    @pytest.mark.parametrize("share", [1.0, 0.5, 0.05])
    @pytest.mark.parametrize("k", [1, 10, 700])
    def test_all_cells_are_exact_search(self, plain: Path, vectors: np.ndarray, share: float, k: int) -> None:
        allowed = np.random.default_rng(0).random(3_000) < share
        index = FaissIndex(plain, "space").searched
        assert isinstance(index, IvfFlatIndex)
        index.num_probes = index.num_cells
        rows, scores = index.search(vectors[:40], k, allowed)
        expected, exact = ExactIndex(vectors).search(vectors[:40], k, allowed)
        assert share_found(expected, rows) > 0.999  # but for rounding
        np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-6)
        for query in range(3):  # which is another way through the code
            alone, its_scores = index.search(vectors[query : query + 1], k, allowed)
            assert share_found(rows[query : query + 1], alone) > 0.999
            np.testing.assert_allclose(its_scores[0], scores[query], rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("share", [0.5, 0.05])
    def test_a_filter_keeps_the_recall(self, plain: Path, vectors: np.ndarray, share: float) -> None:
        allowed = np.random.default_rng(0).random(3_000) < share
        rows, _ = FaissIndex(plain, "space").search(vectors[:100], 10, allowed)
        expected, _ = ExactIndex(vectors).search(vectors[:100], 10, allowed)
        assert allowed[rows].all()
        assert share_found(expected, rows) >= 0.98

    def test_lists_are_full_though_what_is_allowed_is_far(self, plain: Path, vectors: np.ndarray) -> None:
        allowed = np.zeros(3_000, bool)
        allowed[np.argsort(vectors @ vectors[0])[:400]] = True
        for queries in (vectors[:1], vectors[[0, 0]]):
            rows, _ = FaissIndex(plain, "space").search(queries, 300, allowed)
            assert (rows >= 0).all()
            assert allowed[rows].all()
            assert all(len(set(found)) == 300 for found in rows.tolist())

    def test_blocks_of_queries_are_all_queries(
        self, plain: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index, everything = FaissIndex(plain, "space"), np.ones(3_000, bool)
        rows, scores = index.search(vectors[:50], 10, everything)
        monkeypatch.setattr("towers.retrieval.inverted.HELD_AT_ONCE", 2_000)
        in_blocks = index.search(vectors[:50], 10, everything)
        np.testing.assert_array_equal(in_blocks[0], rows)
        np.testing.assert_allclose(in_blocks[1], scores, rtol=1e-5)

    def test_equal_contents_are_all_found(self, tmp_path: Path) -> None:
        vectors = np.tile(clustered(10), (40, 1))
        IvfSettings(min_contents=0, num_lists=8, num_probes=1, min_recall=0.5, most_scanned=600).build(
            vectors, tmp_path, "space"
        )
        index = FaissIndex(tmp_path, "space", vectors)
        assert isinstance(index.searched, IvfFlatIndex)
        for queries in (vectors[3:4], vectors[3:5]):
            assert sorted(index.search(queries, 40, np.ones(400, bool))[0][0].tolist()) == list(range(3, 400, 10))

    def test_an_index_of_another_kind_leaves_no_file_of_the_one_before(self, tmp_path: Path) -> None:
        vectors = clustered(400)

        def names(most_scanned: int) -> set[str]:
            IvfSettings(min_contents=0, num_lists=8, num_probes=1, min_recall=0.5, most_scanned=most_scanned).build(
                vectors, tmp_path, "space"
            )
            return {path.name for path in tmp_path.iterdir()}

        kinds = [names(0), names(10_000), names(0)]
        assert kinds[0] == kinds[2] == {"space_id", "contents.faiss", "cells.bin", "cells.npy", "effort.json"}
        assert kinds[1] == {"space_id", "centroids.npy", "cells.npy", "members.npy", "vectors.npy", "effort.json"}

    def test_codes_where_too_much_would_be_scanned(self, plain: Path, vectors: np.ndarray, tmp_path: Path) -> None:
        shutil.copytree(plain, tmp_path, dirs_exist_ok=True)  # which is not read afterwards
        replace(WITHOUT_CODES, most_scanned=190).build(vectors, tmp_path, "space")
        assert isinstance(FaissIndex(tmp_path, "space", vectors).searched, CompressedIndex)
        assert recall_of_index(tmp_path, "space", vectors) >= 0.99

    @pytest.mark.parametrize("name", ["cells.npy", "centroids.npy", "effort.json", "members.npy", "vectors.npy"])
    @pytest.mark.parametrize("keep", [None, 0.5])
    def test_a_damaged_file_is_named(self, plain: Path, vectors: np.ndarray, tmp_path: Path, name: str, keep) -> None:
        damaged = Path(shutil.copytree(plain, tmp_path / "index"))
        contents = (damaged / name).read_bytes()
        if keep is None:
            (damaged / name).unlink()
        else:
            (damaged / name).write_bytes(contents[: int(keep * len(contents))])
        missing = "contents.faiss" if (name, keep) == ("centroids.npy", None) else name  # it is then of another kind
        with pytest.raises(UserError, match=missing):
            FaissIndex(damaged, "space", vectors)

    def test_a_negative_limit_is_refused(self) -> None:
        with pytest.raises(ValueError, match="most_scanned"):
            replace(WITHOUT_CODES, most_scanned=-1)

    def test_rows_beyond_the_export_are_refused(self, plain: Path, vectors: np.ndarray, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="2,999 vectors"):
            FaissIndex(plain, "space", vectors[1:])
        damaged = Path(shutil.copytree(plain, tmp_path / "index"))
        members = np.load(damaged / "members.npy")
        members[7] = 3_000
        np.save(damaged / "members.npy", members)
        with pytest.raises(UserError, match=r"members\.npy"):
            FaissIndex(damaged, "space", vectors)


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
