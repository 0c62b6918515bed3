"""Inverted files: contents lie in cells, of which a query searches the nearest."""

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
"""At least so many times k are ranked."""

HELD_AT_ONCE = 2_097_152
"""Numbers of a block of queries: 24 MB of rows and inner products."""


class InvertedIndex(ABC):
    """What all inverted files do: choose how many cells are searched.

    Args:
        num_contents: of the catalogue.
        num_cells: that contents lie in.
        num_probes: cells that a query searches, at least.
    """

    def __init__(self, num_contents: int, num_cells: int, num_probes: int):
        self._num_contents = num_contents
        self.num_cells = num_cells
        self.num_probes = num_probes

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"] | None = None
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """Searches as `Index.search` says, in more cells where a filter leaves a part of the contents or k is large."""
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
        """Numbers that a query needs in memory for so many cells."""

    @abstractmethod
    def _scanned(
        self,
        queries: Float[np.ndarray, "queries dim"],
        k: int,
        allowed: Bool[np.ndarray, " contents"] | None,
        probes: int,
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """The best of so many cells; null `allowed` is all."""


class IvfFlatIndex(InvertedIndex):
    """Computes the inner products of all contents in the nearest cells: for catalogues where these are few.

    It reads the vectors in the order of the cells, so that those of a cell lie side by side. Contents with equal inner
    products come in any order, the same one for the same query.

    Args:
        folder: of the cells' centroids, of the rows and vectors in each, and of the effort that was chosen when it was
            built.
        num_contents: of the export.

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
        self._rows = np.append(members, -1)  # which is the row of place -1
        ends = np.cumsum(sizes)
        self._spans = [slice(*pair) for pair in zip((ends - sizes).tolist(), ends.tolist(), strict=True)]
        behind = np.arange(sizes.max(initial=1), 0, -1)
        self._places = np.where(behind <= sizes[:, None], ends[:, None] - behind, -1)

    def _held(self, probes: int) -> int:
        return self.num_cells + probes * self.longest

    @property
    def longest(self) -> int:
        """Contents in the largest cell."""
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
    """Scans codes of four bits a dimension in the nearest cells, and ranks the best of them by the vectors themselves.

    The method is FAISS' fast scan (André and others, "Accelerated Nearest Neighbor Search with Quick ADC", 2017) behind
    a rotation onto the leading directions of the catalogue.

    Args:
        index: a rotation before an empty inverted file.
        folder: of its lists, and of the effort that was chosen when it was built.
        vectors: `[contents, dim]`, float32; may be memory-mapped.

    Raises:
        UserError: the files cannot be read, or do not fit each other.
    """

    def __init__(self, index: faiss.IndexPreTransform, folder: Path, vectors: Float[np.ndarray, "contents dim"]):
        self._index = index  # which owns its parts
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
        unread = np.zeros(cells.shape, np.float32)  # products with the cells
        # FAISS' own search for cells takes a tenth as long as the scan.
        self._cells.search_preassigned_c(
            len(queries), faiss.swig_ptr(points), num_candidates, faiss.swig_ptr(cells),
            faiss.swig_ptr(unread), faiss.swig_ptr(by_codes), faiss.swig_ptr(candidates),
            False, parameters,
        )  # fmt: skip
        candidates[candidates >= len(self._vectors)] = -1  # damage, which `towers verify` reports
        candidates.sort(axis=1)
        return ranked(self._vectors, queries, candidates, k)


def _nearest_cells(products: Float[np.ndarray, "*queries cells"], probes: int) -> Int[np.ndarray, "*queries probes"]:
    """Those of the largest products, in any order."""
    if probes == 1:
        return products.argmax(axis=-1)[..., None]
    others = products.shape[-1] - probes
    return products.argpartition(others - 1)[..., others:] if others else np.indices(products.shape)[-1]


def _is_short(rows: np.ndarray, wanted: int) -> bool:
    """Whether a list has less than that."""
    column = rows[:, wanted - 1]
    return (column.item() if len(column) == 1 else int(column.min(initial=0))) < 0
