"""Search of the nearest vectors by inner product, exactly or by the index of an export."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int

from towers.errors import UserError
from towers.retrieval.files import CONTENT_VECTORS, INDEX_CENTROIDS, INDEX_FILE, INDEX_SPACE_ID, mapped_array, reading
from towers.retrieval.inverted import CompressedIndex, IvfFlatIndex
from towers.retrieval.ranking import padded, products, products_with, selector

QUERIES_FOR_RECALL = 1_000
QUERY_BLOCK, CONTENT_BLOCK = 256, 65_536
"""Number of queries and of contents in a block whose products exact search holds at once: 64 MiB."""

ROWS_OF_MAXIMA = 32
"""Number of scores per maximum when the k largest are preselected."""


@runtime_checkable  # for the tests, which check annotations at run time
class Index(Protocol):
    """Index that finds the contents nearest to a vector."""

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"] | None = None
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """Returns the rows of the k allowed contents with the largest inner products, and these products, best first.

        All contents are allowed if `allowed` is null. If fewer than k are found, the rest of the rows is -1 and of the
        products minus infinity.
        """
        ...


class ExactIndex:
    """Exhaustive search over the allowed contents; the reference for approximate indexes.

    Args:
        vectors: `[contents, dim]`, float32; may be memory-mapped.
    """

    def __init__(self, vectors: Float[np.ndarray, "contents dim"]):
        self._vectors = np.asarray(vectors)  # slices of np.memmap are slow

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"] | None = None
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """Searches as `Index.search`; ties go to the lower row. Reads only allowed rows if they are less than half."""
        listed = None
        if allowed is not None and 2 * np.count_nonzero(allowed) < len(allowed):
            listed = np.flatnonzero(allowed)
        blocks = [self._search(vectors[start : start + QUERY_BLOCK], k, allowed, listed)
                  for start in range(0, len(vectors), QUERY_BLOCK)]  # fmt: skip
        none = (np.zeros((0, k), np.int64), np.zeros((0, k), np.float32))
        rows, scores = zip(*(blocks or [none]), strict=True)
        return np.concatenate(rows), np.concatenate(scores)

    def _search(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, listed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        best = [_Best(k) for _ in queries]
        if listed is not None:
            for start in range(0, len(listed), CONTENT_BLOCK):
                rows = listed[start : start + CONTENT_BLOCK]
                _offer(best, rows, products_with(self._vectors, queries, rows))
        else:
            for start in range(0, len(self._vectors), CONTENT_BLOCK):
                block = self._vectors[start : start + CONTENT_BLOCK]
                scores = products(block, queries)
                is_in = None if allowed is None else allowed[start : start + CONTENT_BLOCK]
                if is_in is None or is_in.all():
                    _offer(best, range(start, start + len(block)), scores)
                else:
                    _offer(best, start + np.flatnonzero(is_in), scores[:, is_in])
        found = [padded(one.rows, one.scores, k) for one in best]
        return np.stack([rows for rows, _ in found]), np.stack([scores for _, scores in found])


class FaissIndex:
    """The index of an export: a complete FAISS index, or an inverted file over the export's vectors.

    Args:
        folder: folder `index/` of the export.
        space_id: space_id of the export.
        vectors: `[contents, dim]`, float32, vectors by which an inverted file ranks its candidates; null: those of the
            export that contains `folder`.

    Raises:
        UserError: the index belongs to another space or cannot be read.
    """

    def __init__(self, folder: Path, space_id: str, vectors: Float[np.ndarray, "contents dim"] | None = None):
        with reading(folder / INDEX_SPACE_ID) as path:
            found = path.read_text().strip()
        if found != space_id:
            raise UserError(f"{folder}: space_id {found} is not the export's {space_id}; vectors must not be mixed")
        self.searched: Index = _opened(folder, vectors)

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"] | None = None
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """Searches as `Index.search`; the result is approximate if the index is."""
        return self.searched.search(vectors, k, allowed)


class WholeIndex:
    """FAISS index that holds all vectors itself, for small catalogues and every export of format 1."""

    def __init__(self, index: faiss.Index):
        self._index = index

    def search(
        self, vectors: Float[np.ndarray, "queries dim"], k: int, allowed: Bool[np.ndarray, " contents"] | None = None
    ) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
        """Searches as `Index.search`; the result is approximate if the index is."""
        among = None if allowed is None else selector(allowed)
        if isinstance(self._index, faiss.IndexIVF):
            # faiss wraps these constructors at import: they take keywords that its stubs do not know.
            parameters = faiss.SearchParametersIVF(sel=among, nprobe=self._index.nprobe)  # pyright: ignore
        else:
            parameters = faiss.SearchParameters(sel=among)  # pyright: ignore
        queries = np.ascontiguousarray(vectors, np.float32)
        scores, rows = self._index.search(queries, min(k, self._index.ntotal), params=parameters)
        return padded(rows, np.where(rows >= 0, scores, -np.inf), k)


def recall_of(
    index: Index, exact: Index, vectors: Float[np.ndarray, "contents dim"], k: int, queries: int = QUERIES_FOR_RECALL
) -> float:
    """Returns the index's recall of the exact nearest k, with about `queries` evenly spaced contents as queries.

    If the catalogue has fewer than k contents, all of them are expected; for an empty catalogue the recall is 1.
    """
    asked = np.asarray(vectors[:: max(1, len(vectors) // queries)])
    expected, _ = exact.search(asked, k)
    found, _ = index.search(asked, k)
    return share_found(expected, found)


def share_found(expected: Int[np.ndarray, "queries k"], found: Int[np.ndarray, "queries any_k"]) -> float:
    """Returns the mean over queries of the share of `expected` rows in `found`, without -1; 1 if none is expected."""
    pairs = [(a[a >= 0], b) for a, b in zip(expected, found, strict=True)]
    hits = [len(np.intersect1d(a, b)) / len(a) for a, b in pairs if len(a)]
    return float(np.mean(hits)) if hits else 1.0


class _Best:
    """The k best rows so far, in order."""

    def __init__(self, k: int):
        self._k = k
        self.rows, self.scores = np.zeros(0, np.int64), np.zeros(0, np.float32)

    def offer(self, rows: np.ndarray | range, scores: np.ndarray) -> None:
        """Adds rows, which must be higher than all rows added before."""
        places = _largest(scores, min(self._k, len(scores)))
        offered = rows.start + places if isinstance(rows, range) else rows[places]
        if len(self.rows) == 0:
            self.rows, self.scores = offered, scores[places]
            return
        rows, scores = np.concatenate([self.rows, offered]), np.concatenate([self.scores, scores[places]])
        best = _largest(scores, min(self._k, len(scores)))  # the sort is stable, so ties go to the lower row
        self.rows, self.scores = rows[best], scores[best]


def _offer(best: list[_Best], rows: np.ndarray | range, scores: np.ndarray) -> None:
    for one, its_scores in zip(best, scores, strict=True):
        one.offer(rows, its_scores)


def _largest(scores: np.ndarray, k: int) -> np.ndarray:
    """Returns the positions of the k largest scores, in order; sorts only scores above a threshold."""
    if k == 0:
        return np.zeros(0, np.int64)
    num_columns = len(scores) // ROWS_OF_MAXIMA
    if num_columns > k:  # maxima are scores themselves, so the k-th maximum bounds the k largest scores from below
        whole = scores[: num_columns * ROWS_OF_MAXIMA].reshape(ROWS_OF_MAXIMA, num_columns)
        threshold = np.partition(whole.max(axis=0), num_columns - k)[num_columns - k]
    else:
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    places = np.flatnonzero(scores >= threshold)
    return places[np.argsort(-scores[places], kind="stable")[:k]]


def _opened(folder: Path, vectors: np.ndarray | None) -> Index:
    def beside() -> np.ndarray:
        return mapped_array(folder.parent / CONTENT_VECTORS) if vectors is None else vectors

    if (folder / INDEX_CENTROIDS).exists():
        return IvfFlatIndex(folder, len(beside()))
    with reading(folder / INDEX_FILE) as path:
        # Memory-mapped where FAISS supports it, so that processes share it.
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP)
    return CompressedIndex(index, folder, beside()) if isinstance(index, faiss.IndexPreTransform) else WholeIndex(index)
