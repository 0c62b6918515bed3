"""Functions that all indexes share: ranking of candidates by their vectors, FAISS filters, padding of short lists."""

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int


def ranked(
    vectors: Float[np.ndarray, "contents dim"],
    queries: Float[np.ndarray, "queries dim"],
    candidates: Int[np.ndarray, "queries candidates"],
    k: int,
) -> tuple[Int[np.ndarray, "queries k"], Float[np.ndarray, "queries k"]]:
    """Returns the k candidates of each query with the largest inner products; ties go to the lower row.

    Args:
        vectors: float32, contiguous; may be memory-mapped.
        queries: float32, contiguous.
        candidates: rows of `vectors`, ascending; -1 stands for none. Rows must be valid: their bounds are not checked.
        k: number of rows to return; if there are fewer candidates, the rest has row -1 and product minus infinity.
    """
    if len(queries) == 1:
        rows = candidates[0, candidates[0].searchsorted(0) :]
        scores = vectors.take(rows, axis=0) @ queries[0]
        best = (-scores).argsort(kind="stable")[:k]
        return padded(rows.take(best)[None], scores.take(best)[None], k)
    count, width = candidates.shape
    scores = np.empty((count, width), np.float32)
    # Only for several queries: FAISS parallelizes over queries, and one would wait for idle threads.
    faiss.fvec_inner_products_by_idx(  # pyright: ignore
        faiss.swig_ptr(scores), faiss.swig_ptr(queries), faiss.swig_ptr(vectors), faiss.swig_ptr(candidates),
        vectors.shape[1], count, width,
    )  # fmt: skip
    best = (-scores).argsort(axis=1, kind="stable")[:, :k] + np.arange(0, count * width, width)[:, None]
    return padded(candidates.take(best), scores.take(best), k)


def products(
    vectors: Float[np.ndarray, "contents dim"], queries: Float[np.ndarray, "queries dim"]
) -> Float[np.ndarray, "queries contents"]:
    """Returns the inner products of all queries with all vectors."""
    if not _is_one(vectors, queries):
        return queries @ vectors.T
    scores = np.empty((1, len(vectors)), np.float32)
    faiss.fvec_inner_products_ny(  # pyright: ignore
        faiss.swig_ptr(scores), faiss.swig_ptr(queries), faiss.swig_ptr(vectors), vectors.shape[1], len(vectors)
    )
    return scores


def products_with(
    vectors: Float[np.ndarray, "contents dim"],
    queries: Float[np.ndarray, "queries dim"],
    rows: Int[np.ndarray, " rows"],
) -> Float[np.ndarray, "queries rows"]:
    """Returns the inner products of all queries with the vectors at `rows`."""
    return products(vectors.take(rows, axis=0), queries)


def _is_one(vectors: np.ndarray, queries: np.ndarray) -> bool:
    """Returns whether FAISS can compute the products, which for a single query takes half the time of BLAS."""
    are_alike = len(queries) == 1 and vectors.shape[1] == queries.shape[1]  # FAISS would read beyond the shorter one
    return are_alike and all(array.dtype == np.float32 and array.flags.c_contiguous for array in (vectors, queries))


def selector(allowed: Bool[np.ndarray, " contents"]) -> faiss.IDSelector:
    """Builds the FAISS filter of a mask of allowed contents."""
    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))  # pyright: ignore


def padded(
    rows: Int[np.ndarray, "*queries found"], scores: Float[np.ndarray, "*queries found"], k: int
) -> tuple[Int[np.ndarray, "*queries k"], Float[np.ndarray, "*queries k"]]:
    """Pads the last axis of rows with -1 and of scores with minus infinity, up to k."""
    if rows.shape[-1] == k:
        return rows, scores
    shape = (*rows.shape[:-1], k)
    all_rows, all_scores = np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32)
    all_rows[..., : rows.shape[-1]], all_scores[..., : rows.shape[-1]] = rows, scores
    return all_rows, all_scores
