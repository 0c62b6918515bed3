"""The nearest vectors by inner product: exactly, or through the FAISS index of an export."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.retrieval.files import reading

SPACE_ID_FILE = "space_id"
INDEX_FILE = "contents.faiss"
QUERIES_FOR_RECALL = 1_000


@runtime_checkable  # for the tests, which check annotations at run time
class Index(Protocol):
    """Finds contents near a vector."""

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"]
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """The rows of the k largest inner products among the allowed contents and the products, best first.

        Where fewer are allowed, rows are -1 and products minus infinity.
        """
        ...


class ExactIndex:
    """The inner products of all that is allowed; the reference that an approximate index is measured by.

    Args:
        vectors: `[contents, dim]`, float32; may be memory-mapped.
    """

    def __init__(self, vectors: Float[np.ndarray, "contents dim"]):
        self._vectors = vectors

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"]
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """As `Index.search`; ties go to the lower row. Reads the allowed rows alone where they are the smaller part."""
        listed = np.flatnonzero(allowed)
        if 2 * len(listed) < len(allowed):
            scores = vectors @ self._vectors[listed].T
        else:
            scores = (vectors @ self._vectors.T)[:, listed]
        k_found = min(k, len(listed))
        best = np.array([_largest(row, k_found) for row in scores], np.int64).reshape(len(vectors), k_found)
        return _padded(listed[best], np.take_along_axis(scores, best, axis=1), k)


class FaissIndex:
    """The index of an export.

    Args:
        folder: `index/` of the export.
        space_id: of the export.

    Raises:
        UserError: the index belongs to another space or cannot be read.
    """

    def __init__(self, folder: Path, space_id: str):
        with reading(folder / SPACE_ID_FILE) as path:
            found = path.read_text().strip()
        if found != space_id:
            raise UserError(f"{folder}: space_id {found} is not the export's {space_id}; vectors must not be mixed")
        with reading(folder / INDEX_FILE) as path:
            self._index = faiss.read_index(str(path))

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"]
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """As `Index.search`; approximate where the index is."""
        # faiss wraps these constructors at import: they take an array and keywords that its stubs do not know.
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # pyright: ignore
        if isinstance(self._index, faiss.IndexIVF):
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=self._index.nprobe)  # pyright: ignore
        else:
            parameters = faiss.SearchParameters(sel=selector)  # pyright: ignore
        queries = np.ascontiguousarray(vectors, np.float32)
        scores, rows = self._index.search(queries, min(k, len(allowed)), params=parameters)
        return _padded(rows, np.where(rows >= 0, scores, -np.inf), k)


def recall_of(
    index: Index, exact: Index, vectors: Float[np.ndarray, "contents dim"], k: int, queries: int = QUERIES_FOR_RECALL
) -> float:
    """Share of the exact nearest k that the index finds, over about so many evenly spaced contents as queries.

    A catalogue of fewer than k contents has fewer to find; an empty one gives 1.
    """
    asked = vectors[:: max(1, len(vectors) // queries)]
    allowed = np.ones(len(vectors), bool)
    expected, _ = exact.search(asked, k, allowed)
    found, _ = index.search(asked, k, allowed)
    hits = [len(np.intersect1d(a[a >= 0], b)) / (a >= 0).sum() for a, b in zip(expected, found, strict=True)]
    return float(np.mean(hits)) if hits else 1.0


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Where the k largest are, in order; only what may be among them is sorted."""
    if k == 0:
        return np.zeros(0, np.int64)
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    places = np.flatnonzero(scores >= threshold)
    return places[np.argsort(-scores[places], kind="stable")[:k]]


def _padded(rows: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    missing = ((0, 0), (0, k - rows.shape[1]))
    return (
        np.pad(rows, missing, constant_values=-1).astype(np.int64),
        np.pad(scores, missing, constant_values=-np.inf).astype(np.float32),
    )
