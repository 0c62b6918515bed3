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
from towers.retrieval.files import INDEX_CENTROIDS, INDEX_EFFORT, INDEX_MEMBERS, INDEX_SIZES, mapped_array
from towers.retrieval.ranking import ranked, selector

CANDIDATES_OF_K = 3
"""At least so many times k are ranked."""

SCANNED_AT_ONCE = 2_097_152
"""Contents of a block of queries: 24 MB of their rows and inner products."""


class InvertedIndex(ABC):
    """What all inverted files do: choose how many cells are searched.

    Args:
        vectors: `[contents, dim]`, float32; may be memory-mapped.
        num_cells: that contents lie in.
        num_probes: cells that a query searches, at least.
    """

    def __init__(self, vectors: Float[np.ndarray, "contents dim"], num_cells: int, num_probes: int):
        self._vectors = np.ascontiguousarray(vectors, np.float32)  # a plain view of a mapped array
        self.num_cells = num_cells
        self.num_probes = num_probes

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"]
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """As `Index.search`; where a filter leaves a part, or k is large, as many more cells are searched."""
        num_contents = num_allowed = len(allowed)
        if not (is_all := bool(allowed.all())):
            num_allowed = int(np.count_nonzero(allowed))
        probes = max(self.num_probes, -(-CANDIDATES_OF_K * k * self.num_cells // max(num_contents, 1)))
        probes = min(self.num_cells, probes * num_contents // max(num_allowed, 1))
        queries = np.ascontiguousarray(vectors, np.float32)
        mask = None if is_all else allowed
        rows, scores = self._scanned(queries, k, mask, probes)
        last = min(k, num_allowed) - 1
        while probes < self.num_cells and last >= 0 and (is_short := rows[:, last] < 0).any():
            probes = min(self.num_cells, 2 * probes)
            rows[is_short], scores[is_short] = self._scanned(queries[is_short], k, mask, probes)
        return rows, scores

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

    Args:
        folder: of the cells' centroids, of the rows in each, and of the effort that was chosen when it was built.
        vectors: `[contents, dim]`, float32; may be memory-mapped.

    Raises:
        UserError: the files cannot be read, or do not fit each other.
    """

    def __init__(self, folder: Path, vectors: Float[np.ndarray, "contents dim"]):
        centroids, sizes, members = (
            mapped_array(folder / name) for name in (INDEX_CENTROIDS, INDEX_SIZES, INDEX_MEMBERS)
        )
        super().__init__(vectors, len(sizes), read_json(folder / INDEX_EFFORT)["num_probes"])
        if len(members) != len(vectors):
            raise UserError(f"{folder}: {len(members):,} contents, but {len(vectors):,} vectors; copy the export again")
        does_fit = centroids.shape == (len(sizes), vectors.shape[1]) and int(sizes.sum()) == len(members)
        if not does_fit or sizes.min() < 0 or members.min() < 0 or members.max() >= len(members):
            raise UserError(
                f"{folder / INDEX_MEMBERS}: does not fit {INDEX_SIZES} and the vectors; copy the export again"
            )
        self._directions = np.ascontiguousarray(centroids.T)
        is_filled = np.arange(sizes.max()) < sizes[:, None]
        self._members = np.full(is_filled.shape, -1, np.int64)
        self._members[is_filled] = members

    @property
    def longest(self) -> int:
        """Contents in the largest cell."""
        return self._members.shape[1]

    def _scanned(
        self,
        queries: Float[np.ndarray, "queries dim"],
        k: int,
        allowed: Bool[np.ndarray, " contents"] | None,
        probes: int,
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        at_once = max(1, SCANNED_AT_ONCE // (probes * self.longest))
        if len(queries) > at_once:
            blocks = [self._scanned(queries[start : start + at_once], k, allowed, probes)
                      for start in range(0, len(queries), at_once)]  # fmt: skip
            rows, scores = zip(*blocks, strict=True)
            return np.concatenate(rows), np.concatenate(scores)
        candidates = self._members.take(self._nearest_cells(queries, probes), axis=0).reshape(len(queries), -1)
        if allowed is not None:
            candidates[~allowed.take(candidates)] = -1  # of a -1, which is none already, it asks the last row
        return ranked(self._vectors, queries, candidates, k)

    def _nearest_cells(self, queries: np.ndarray, probes: int) -> np.ndarray:
        products = queries @ self._directions
        if probes == 1:
            return products.argmax(axis=1)
        others = self.num_cells - probes
        return np.argpartition(products, others, axis=1)[:, others:] if others else np.indices(products.shape)[1]


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
        self._index = index
        cells: Any = faiss.downcast_index(index.index)
        map_cells(cells, folder)
        if cells.ntotal != len(vectors):
            raise UserError(f"{folder}: {cells.ntotal:,} contents, but {len(vectors):,} vectors; copy the export again")
        effort = read_json(folder / INDEX_EFFORT)
        super().__init__(vectors, cells.nlist, effort["num_probes"])
        self.num_candidates: int = effort["num_candidates"]
        self._unfiltered: dict[int, faiss.SearchParameters] = {}

    def _scanned(
        self,
        queries: Float[np.ndarray, "queries dim"],
        k: int,
        allowed: Bool[np.ndarray, " contents"] | None,
        probes: int,
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        num_candidates = min(max(self.num_candidates, CANDIDATES_OF_K * k), len(self._vectors))
        _, candidates = self._index.search(queries, num_candidates, params=self._parameters(probes, allowed))
        candidates[candidates >= len(self._vectors)] = -1  # damage, which `towers verify` reports
        return ranked(self._vectors, queries, candidates, k)

    def _parameters(self, probes: int, allowed: np.ndarray | None) -> faiss.SearchParameters:
        if allowed is None and probes in self._unfiltered:
            return self._unfiltered[probes]
        filtered = {} if allowed is None else {"sel": selector(allowed)}
        # faiss wraps these constructors at import: they take keywords that its stubs do not know.
        of_cells = faiss.SearchParametersIVF(nprobe=probes, **filtered)  # pyright: ignore
        parameters = faiss.SearchParametersPreTransform(index_params=of_cells)  # pyright: ignore
        if allowed is None:
            self._unfiltered = {probes: parameters}
        return parameters
