"""Inverted-file indexes: contents are grouped into cells, and a query searches the nearest cells."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.manifest import read_json
from towers.retrieval.cells import map_cells
from towers.retrieval.files import (
    INDEX_CENTROIDS,
    INDEX_EFFORT,
    INDEX_MEMBERS,
    INDEX_SIZES,
    INDEX_VECTORS,
    mapped_array,
)
from towers.retrieval.ranking import padded, ranked, selector

CANDIDATES_OF_K = 3
"""Number of candidates that are ranked for each requested content, at least."""

HELD_AT_ONCE = 2_097_152
"""Numbers held in memory for a block of queries: 24 MB of rows and inner products."""


class InvertedIndex(ABC):
    """Base class of inverted files, which chooses how many cells a query searches.

    Args:
        num_contents: number of contents in the catalogue.
        num_cells: number of cells.
        num_probes: smallest number of cells that a query searches.
    """

    def __init__(self, num_contents: int, num_cells: int, num_probes: int):
        self._num_contents = num_contents
        self.num_cells = num_cells
        self.num_probes = num_probes

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"] | None = None
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """Searches as `Index.search`; in more cells if a filter excludes contents, k is large, or too few are found."""
        num_contents = self._num_contents
        wanted, probes = min(k, num_contents), self.num_probes
        if CANDIDATES_OF_K * k * self.num_cells > probes * num_contents:
            probes = -(-CANDIDATES_OF_K * k * self.num_cells // max(num_contents, 1))
        if allowed is not None and (num_allowed := int(np.count_nonzero(allowed))) < num_contents:
            wanted = min(k, num_allowed)
            probes = probes * num_contents // max(num_allowed, 1)
        else:
            allowed = None
        probes = min(self.num_cells, probes)
        queries = np.ascontiguousarray(vectors, np.float32)
        rows, scores = self._in_blocks(queries, k, allowed, probes)
        while wanted and probes < self.num_cells and _is_short(rows, wanted):
            probes = min(self.num_cells, 2 * probes)
            is_short = rows[:, wanted - 1] < 0
            rows[is_short], scores[is_short] = self._in_blocks(queries[is_short], k, allowed, probes)
        return rows, scores

    def _in_blocks(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, probes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        count = len(queries)
        if count == 1 or count <= (at_once := max(1, HELD_AT_ONCE // self._held(probes))):
            return self._scanned(queries, k, allowed, probes)
        blocks = [self._scanned(queries[start : start + at_once], k, allowed, probes)
                  for start in range(0, len(queries), at_once)]  # fmt: skip
        rows, scores = zip(*blocks, strict=True)
        return np.concatenate(rows), np.concatenate(scores)

    @abstractmethod
    def _held(self, probes: int) -> int:
        """Returns how many numbers a query holds in memory if it searches `probes` cells."""

    @abstractmethod
    def _scanned(
        self,
        queries: Float[np.ndarray, "queries dim"],
        k: int,
        allowed: Bool[np.ndarray, " contents"] | None,
        probes: int,
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """Returns the best contents of the nearest `probes` cells; all are allowed if `allowed` is null."""


class IvfFlatIndex(InvertedIndex):
    """Inverted file that computes the inner products of all contents in the nearest cells, which must be few.

    Its vectors are stored in the order of the cells, so that those of a cell are contiguous. The order of contents with
    equal inner products is arbitrary, but the same each time for one query.

    Args:
        folder: folder with the cells' centroids, the rows and vectors of each cell, and the search effort chosen when
            the index was built.
        num_contents: number of contents in the export.

    Raises:
        UserError: the files cannot be read, or do not fit each other.
    """

    def __init__(self, folder: Path, num_contents: int):
        centroids, sizes, members, vectors = (
            mapped_array(folder / name) for name in (INDEX_CENTROIDS, INDEX_SIZES, INDEX_MEMBERS, INDEX_VECTORS)
        )
        super().__init__(num_contents, len(sizes), read_json(folder / INDEX_EFFORT)["num_probes"])
        if len(members) != num_contents:
            raise UserError(f"{folder}: {len(members):,} contents, but {num_contents:,} vectors; copy the export again")
        shapes = (len(sizes), vectors.shape[-1]), (len(members), vectors.shape[-1])
        do_fit = (centroids.shape, vectors.shape) == shapes and sizes.min() >= 0 and sizes.sum() == len(members)
        if not do_fit or members.min() < 0 or members.max() >= len(members):
            raise UserError(f"{folder / INDEX_MEMBERS}: does not fit {INDEX_SIZES} and others; copy the export again")
        self._directions = np.ascontiguousarray(centroids.T)
        self._vectors = vectors
        self._rows = np.append(members, -1)  # so that place -1 has row -1
        ends = np.cumsum(sizes)
        self._spans = [slice(*pair) for pair in zip((ends - sizes).tolist(), ends.tolist(), strict=True)]
        behind = np.arange(sizes.max(initial=1), 0, -1)
        self._places = np.where(behind <= sizes[:, None], ends[:, None] - behind, -1)

    def _held(self, probes: int) -> int:
        return self.num_cells + probes * self.longest

    @property
    def longest(self) -> int:
        """Number of contents in the largest cell."""
        return self._places.shape[1]

    def _scanned(
        self,
        queries: Float[np.ndarray, "queries dim"],
        k: int,
        allowed: Bool[np.ndarray, " contents"] | None,
        probes: int,
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        if len(queries) == 1:
            return self._of_one(queries[0], k, allowed, probes)
        cells = _nearest_cells(queries @ self._directions, probes)
        places = self._places.take(cells, axis=0).reshape(len(queries), cells.shape[1] * self.longest)
        if allowed is not None:
            places[~allowed.take(self._rows.take(places))] = -1
        if probes > 1:
            places.sort(axis=1)
        places, scores = ranked(self._vectors, queries, places, k)
        return self._rows.take(places), scores

    def _of_one(
        self, query: np.ndarray, k: int, allowed: np.ndarray | None, probes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ranks for a single query, a third faster than the code for several."""
        products = query @ self._directions
        if probes == 1:
            span = self._spans[products.argmax()]
            rows, scores = self._rows[span], self._vectors[span] @ query
        else:
            spans = [self._spans[cell] for cell in np.sort(_nearest_cells(products, probes))]
            rows = np.concatenate([self._rows[span] for span in spans])
            scores = np.concatenate([self._vectors[span] @ query for span in spans])
        if allowed is not None:
            is_in = allowed.take(rows)
            rows, scores = rows[is_in], scores[is_in]
        best = scores.argsort()[: -k - 1 : -1]
        return padded(rows[best][None], scores[best][None], k)


class CompressedIndex(InvertedIndex):
    """Inverted file that scans 4-bit codes in the nearest cells, and ranks the best by the full vectors.

    The method is FAISS' fast scan (André and others, "Accelerated Nearest Neighbor Search with Quick ADC", 2017) after
    a rotation onto the leading principal directions of the catalogue.

    Args:
        index: rotation followed by an empty inverted file.
        folder: folder with its lists, and with the search effort chosen when the index was built.
        vectors: `[contents, dim]`, float32; may be memory-mapped.

    Raises:
        UserError: the files cannot be read, or do not fit each other.
    """

    def __init__(self, index: faiss.IndexPreTransform, folder: Path, vectors: Float[np.ndarray, "contents dim"]):
        self._index = index  # kept, because it owns its parts
        self._cells: Any = faiss.downcast_index(index.index)
        map_cells(self._cells, folder)
        if self._cells.ntotal != len(vectors):
            raise UserError(
                f"{folder}: {self._cells.ntotal:,} contents, but {len(vectors):,} vectors; copy the export again"
            )
        effort = read_json(folder / INDEX_EFFORT)
        super().__init__(len(vectors), self._cells.nlist, effort["num_probes"])
        self.num_candidates: int = effort["num_candidates"]
        self._vectors = np.ascontiguousarray(vectors, np.float32)  # a plain view of a mapped array
        chain: Any = index.chain
        rotation: Any = faiss.downcast_VectorTransform(chain.at(0))
        matrix = faiss.vector_to_array(rotation.A).reshape(rotation.d_out, rotation.d_in)
        self._rotation = np.ascontiguousarray(matrix.T)
        centroids = faiss.downcast_index(self._cells.quantizer).reconstruct_n(0, self.num_cells)
        self._directions = np.ascontiguousarray(centroids.T)

    def _held(self, probes: int) -> int:
        return self.num_cells + self.num_candidates

    def _scanned(
        self,
        queries: Float[np.ndarray, "queries dim"],
        k: int,
        allowed: Bool[np.ndarray, " contents"] | None,
        probes: int,
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        points = queries @ self._rotation
        cells = np.ascontiguousarray(_nearest_cells(points @ self._directions, probes))
        filtered = {} if allowed is None else {"sel": selector(allowed)}
        # faiss wraps these constructors at import: they take keywords that its stubs do not know.
        parameters = faiss.SearchParametersIVF(nprobe=probes, **filtered)  # pyright: ignore
        num_candidates = min(max(self.num_candidates, CANDIDATES_OF_K * k), len(self._vectors))
        candidates = np.empty((len(queries), num_candidates), np.int64)
        by_codes = np.empty(candidates.shape, np.float32)
        unread = np.zeros(cells.shape, np.float32)  # products with the centroids, which the scan does not use
        # The cells are found above, as FAISS' own search for them would add a tenth to the time of the scan.
        self._cells.search_preassigned_c(
            len(queries), faiss.swig_ptr(points), num_candidates, faiss.swig_ptr(cells),
            faiss.swig_ptr(unread), faiss.swig_ptr(by_codes), faiss.swig_ptr(candidates),
            False, parameters,
        )  # fmt: skip
        candidates[candidates >= len(self._vectors)] = -1  # damage, which `towers verify` reports
        candidates.sort(axis=1)
        return ranked(self._vectors, queries, candidates, k)


def _nearest_cells(products: Float[np.ndarray, "*queries cells"], probes: int) -> Int[np.ndarray, "*queries probes"]:
    """Returns the cells with the largest products, in any order."""
    if probes == 1:
        return products.argmax(axis=-1)[..., None]
    others = products.shape[-1] - probes
    return products.argpartition(others - 1)[..., others:] if others else np.indices(products.shape)[-1]


def _is_short(rows: np.ndarray, wanted: int) -> bool:
    """Returns whether any list has fewer than `wanted` contents."""
    column = rows[:, wanted - 1]
    return (column.item() if len(column) == 1 else int(column.min(initial=0))) < 0
