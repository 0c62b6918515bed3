"""Builds the FAISS index of an export, reproducibly: the same vectors always give the same files."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float

from towers.errors import require_counts
from towers.manifest import write_json
from towers.retrieval.cells import write_cells
from towers.retrieval.directions import directions_of
from towers.retrieval.files import (
    INDEX_CENTROIDS,
    INDEX_EFFORT,
    INDEX_FILE,
    INDEX_FILES,
    INDEX_MEMBERS,
    INDEX_SIZES,
    INDEX_SPACE_ID,
    INDEX_VECTORS,
)
from towers.retrieval.index import ExactIndex, FaissIndex, recall_of, share_found
from towers.retrieval.inverted import CompressedIndex

CONTENTS_A_LIST = 39
"""Least mean number of contents in a list; below it k-means has too few points for a cell, and FAISS warns."""

CONTENTS_A_CELL = 50
"""Mean number of contents in a cell of an index without codes.

Comparing a query with a cell costs about as much as ranking a fifth of a content."""

CODES_OF_A_DIMENSION = 16  # of four bits
ITERATIONS = 8  # of k-means; recall is chosen by the cells searched, so that finer centroids gain little
CODE_SAMPLE = 65_536  # contents that the rotation and the codes are fitted to
ADDED_AT_ONCE = 65_536  # contents that are encoded at a time
TUNING_QUERIES = 500
TUNED_K = 10
GROWTH = 1.2  # factor on the cells searched, and on the candidates, from one try to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class IvfSettings:
    """An inverted file over k-means cells; a flat index where there are few vectors.

    Where the nearest neighbours are in few cells (well separated clusters), the vectors in these cells are scanned
    uncompressed: the fixed cost of a query is less than with codes. Otherwise codes of four bits a dimension are
    scanned.
    Which of the two is decided by counting, not by timing, so that the same vectors give the same files.

    Args:
        min_contents: number of contents below which exact search is faster than any index.
        num_lists: largest number of cells; fewer where that would leave a cell fewer than 39 contents.
        num_probes: least number of cells whose codes are searched for a query.
        num_candidates: least number of contents that are re-ranked by their vectors.
        code_dim: number of leading directions of the catalogue that the codes keep; all where the vectors have fewer.
        min_recall: cells and candidates are added until this share of the exact nearest 10 of 500 contents is found,
            the contents themselves not counted; from 0 (the numbers above as given) to 1.
        most_scanned: largest number of contents whose vectors are scanned for a query; where `min_recall` needs more,
            codes are used. 0: always codes.

    Raises:
        ValueError: a number is out of range.
    """

    min_contents: int
    num_lists: int
    num_probes: int
    num_candidates: int = 60
    code_dim: int = 64
    min_recall: float = 0.0
    most_scanned: int = 0

    def __post_init__(self) -> None:
        require_counts(
            num_lists=self.num_lists, num_probes=self.num_probes, num_candidates=self.num_candidates,
            code_dim=self.code_dim,
        )  # fmt: skip
        if self.min_contents < 0 or not 0 <= self.min_recall <= 1:
            raise ValueError(
                f"min_contents must be 0 or more and min_recall lie in 0 to 1, got {self.min_contents} and "
                f"{self.min_recall}"
            )
        if self.most_scanned < 0:
            raise ValueError(f"most_scanned must be 0 or more, got {self.most_scanned}")

    def build(self, vectors: Float[np.ndarray, "contents dim"], folder: Path, space_id: str) -> None:
        """Writes the index and the id of its space below `folder`; `vectors` may be memory-mapped."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / INDEX_SPACE_ID).write_text(space_id + "\n")
        for name in INDEX_FILES:  # by which a reader knows what the index is
            (folder / name).unlink(missing_ok=True)
        if len(vectors) < max(self.min_contents, 1):
            whole = faiss.IndexFlatIP(vectors.shape[1])
            whole.add(np.ascontiguousarray(vectors))
            faiss.write_index(whole, str(folder / INDEX_FILE))
            return
        known = _nearest_of_some(vectors) if self.min_recall > 0 else None
        with one_thread():  # sums in another order would give other centroids
            if known and self._write_without_codes(vectors, known, folder):
                return
            index, cells = self._trained(vectors)
        for block in _blocks(vectors):
            index.add(block)
        write_cells(cells, folder)
        index.ntotal = 0
        faiss.write_index(index, str(folder / INDEX_FILE))
        self._choose_effort(index, vectors, known, folder)

    def _num_cells(self, vectors: np.ndarray, contents_a_cell: int) -> int:
        return min(self.num_lists, max(1, len(vectors) // contents_a_cell))

    def _write_without_codes(self, vectors: np.ndarray, known: "_Known", folder: Path) -> bool:
        """Writes cells of whole vectors if few enough of them reach the recall; returns whether it did."""
        num_cells = self._num_cells(vectors, CONTENTS_A_CELL)
        if 2 * len(vectors) > num_cells * self.most_scanned:  # the largest cell has twice the mean and more
            return False
        centroids = _clustered(_spread(vectors, num_cells * CONTENTS_A_CELL), num_cells, CONTENTS_A_CELL)
        cell_of = np.concatenate([centroids.search(block, 1)[1][:, 0] for block in _blocks(vectors)])
        sizes = np.bincount(cell_of, minlength=num_cells)
        # A neighbour is found if no more cells than are searched are nearer than its own.
        products = known.queries @ centroids.reconstruct_n(0, num_cells).T
        of_neighbours = np.take_along_axis(products, cell_of[known.expected], axis=1)
        needed = np.sort(1 + (products[:, None] > of_neighbours[..., None]).sum(-1)[known.expected >= 0])
        probes = int(needed[math.ceil(self.min_recall * len(needed)) - 1]) if len(needed) else 1
        if probes * sizes.max() > self.most_scanned:
            return False
        members = np.argsort(cell_of, kind="stable")
        np.save(folder / INDEX_SIZES, sizes)
        np.save(folder / INDEX_MEMBERS, members)
        ordered = np.lib.format.open_memmap(folder / INDEX_VECTORS, "w+", np.float32, vectors.shape)
        for start in range(0, len(vectors), ADDED_AT_ONCE):
            ordered[start : start + ADDED_AT_ONCE] = vectors[members[start : start + ADDED_AT_ONCE]]
        ordered.flush()
        write_json(folder / INDEX_EFFORT, {"num_probes": probes, "recall@10": float((needed <= probes).mean())})
        np.save(folder / INDEX_CENTROIDS, centroids.reconstruct_n(0, num_cells))
        return True

    def _trained(self, vectors: np.ndarray) -> tuple[faiss.IndexPreTransform, faiss.IndexIVFPQFastScan]:
        """Returns a rotation before an inverted file, both without contents; and that inverted file."""
        num_lists = self._num_cells(vectors, CONTENTS_A_LIST)
        sample = _spread(vectors, max(CODE_SAMPLE, num_lists * CONTENTS_A_LIST))
        rotation = _leading_directions(sample, min(self.code_dim, vectors.shape[1]))
        points = rotation.apply(sample)
        quantizer = _clustered(points, num_lists, CONTENTS_A_LIST)
        cells = faiss.IndexIVFPQFastScan(
            quantizer, rotation.d_out, num_lists, rotation.d_out, 4, faiss.METRIC_INNER_PRODUCT
        )
        cells.by_residual = False  # one table for a query, not one for a cell
        cells.train(np.tile(points, (-(-CODES_OF_A_DIMENSION * CONTENTS_A_LIST // len(points)), 1)))
        return faiss.IndexPreTransform(rotation, cells), cells

    def _choose_effort(
        self, trained: faiss.IndexPreTransform, vectors: np.ndarray, known: "_Known | None", folder: Path
    ) -> None:
        """Chooses the least effort that reaches the recall. Candidates are added first, with all cells searched, until
        a quarter of the allowed misses is left, since one more costs less than a cell; then cells."""
        effort = {"num_probes": self.num_probes, "num_candidates": self.num_candidates}
        write_json(folder / INDEX_EFFORT, effort)
        if known is None:
            return
        index = CompressedIndex(trained, folder, vectors)

        def recall() -> float:
            return share_found(known.expected, index.search(known.queries, TUNED_K + 1)[0])

        index.num_probes = index.num_cells
        while recall() < (3 + self.min_recall) / 4 and index.num_candidates < len(vectors):
            index.num_candidates = _grown(index.num_candidates, len(vectors))
        index.num_probes = min(self.num_probes, index.num_cells)
        while (reached := recall()) < self.min_recall and index.num_probes < index.num_cells:
            index.num_probes = _grown(index.num_probes, index.num_cells)
        write_json(
            folder / INDEX_EFFORT,
            {"num_probes": index.num_probes, "num_candidates": index.num_candidates, "recall@10": reached},
        )


def recall_of_index(folder: Path, space_id: str, vectors: Float[np.ndarray, "contents dim"], k: int = 10) -> float:
    """Returns `recall_of` for the index as written to `folder`."""
    return recall_of(FaissIndex(folder, space_id, vectors), ExactIndex(vectors), vectors, k)


@dataclass(frozen=True, slots=True)
class _Known:
    """Exact nearest neighbours of some contents.

    Args:
        queries: `[queries, dim]`, vectors of the contents.
        expected: `[queries, nearest]`, rows of the nearest contents, without the contents themselves.
    """

    queries: np.ndarray
    expected: np.ndarray


def _nearest_of_some(vectors: np.ndarray) -> _Known:
    queries = _spread(vectors, TUNING_QUERIES)
    return _Known(queries, ExactIndex(vectors).search(queries, TUNED_K + 1)[0][:, 1:])  # the first is itself


def _blocks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), ADDED_AT_ONCE):
        yield np.ascontiguousarray(vectors[start : start + ADDED_AT_ONCE])


def _clustered(points: np.ndarray, num_cells: int, points_a_cell: int) -> faiss.IndexFlatIP:
    """Returns centroids of spherical k-means, of length 1: a longer one would attract points that are nearer to
    others."""
    centroids = faiss.IndexFlatIP(points.shape[1])
    clustering = faiss.Clustering(points.shape[1], num_cells)
    clustering.niter = ITERATIONS
    clustering.spherical = True
    clustering.max_points_per_centroid = points_a_cell
    clustering.min_points_per_centroid = 1
    clustering.train(points, centroids)  # leaves them in it
    return centroids


def _spread(vectors: np.ndarray, most: int) -> np.ndarray:
    """Returns at most `most` rows, evenly spaced, in memory."""
    rows = np.linspace(0, len(vectors) - 1, min(most, len(vectors))).astype(np.int64)
    return np.ascontiguousarray(vectors[rows], np.float32)


def _leading_directions(sample: np.ndarray, dim: int) -> faiss.LinearTransform:
    """Returns a map onto the `dim` directions of the most energy, rotated at random so that each takes an equal part.

    The mean is not subtracted: inner products would change.
    """
    energies = sample.astype(np.float64).T @ sample.astype(np.float64)
    directions = directions_of(energies)[:dim]
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))[0]
    rotation = faiss.LinearTransform(sample.shape[1], dim, False)
    faiss.copy_array_to_vector((turn @ directions).astype(np.float32).ravel(), rotation.A)
    rotation.is_trained = True
    return rotation


def _grown(effort: int, most: int) -> int:
    return min(most, max(effort + 1, int(effort * GROWTH)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Makes FAISS work on one thread in the block, so that any number of cores gives the same bytes."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
