"""Recall of compressed codes of the vectors: eight bits a dimension, or one, with the best re-ranked in float32."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from jaxtyping import Bool, Float, Int

from towers.publishing.leading import K, nearest, spread
from towers.publishing.tables import BLOCK
from towers.retrieval.index import share_found

SAMPLE = 65_536
"""Number of contents that codes are fitted to."""
MANY = 100_000_000
"""Number of vectors for which the memory is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A way to compress a vector.

    Args:
        name: name of the code.
        candidates: number of best contents by the codes that are re-ranked in float32.
        index: function from the dimension to an empty FAISS index.
    """

    name: str
    candidates: int
    index: Callable[[int], Any]


CODES = (
    Code(
        name="int8",
        candidates=2 * K,
        index=lambda dim: faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        ),
    ),
    # Signs after a random rotation: along principal axes most of a vector is in few of them, and signs tell little.
    Code(name="one bit", candidates=10 * K, index=lambda dim: faiss.IndexLSH(dim, dim, True, False)),
)  # fmt: skip


def recall_of_codes(
    users: Float[np.ndarray, "users dim"],
    contents: Float[np.ndarray, "contents dim"],
    allowed: Bool[np.ndarray, " contents"],
    codes: Sequence[Code] = CODES,
) -> dict[str, dict[str, int | float]]:
    """Measures the cost and the recall of every code: bytes a vector, gigabytes for 100,000,000 vectors, and the share
    of the exact nearest 20 contents that is found; float32 is included for comparison.

    Codes are made and searched block by block, so memory does not grow with the contents.

    Args:
        users: vectors of some listeners, which stay in float32.
        contents: vectors by row, float32; may be memory-mapped.
        allowed: which contents may be in a list.
        codes: codes to measure.

    Returns:
        Figures by name of the code; empty without listeners.
    """
    if not len(users):
        return {}
    dim = contents.shape[1]
    exact = nearest(users, contents, allowed, dim)
    found = {"float32": _size(4 * dim)}
    for code in codes:
        index = code.index(dim)
        index.train(np.ascontiguousarray(spread(contents, SAMPLE)))
        candidates = _candidates(index, users, contents, allowed, code.candidates)
        recall = share_found(exact, _ranked(users, contents, candidates))
        found[code.name] = _size(index.sa_code_size()) | {f"recall@{K}": recall, "candidates": code.candidates}
    return found


def _size(num_bytes: int) -> dict[str, int | float]:
    return {"bytes": num_bytes, "gigabytes": num_bytes * MANY / 1e9}


def _candidates(
    index: Any, users: np.ndarray, contents: np.ndarray, allowed: np.ndarray, count: int
) -> Int[np.ndarray, "users candidates"]:
    """Returns the rows of the best contents by their codes, -1 where there are fewer."""
    queries = np.ascontiguousarray(users, np.float32)
    best, scores = np.full((len(users), count), -1), np.full((len(users), count), np.inf, np.float32)
    sign = -1 if index.metric_type == faiss.METRIC_INNER_PRODUCT else 1
    for first in range(0, len(contents), BLOCK):
        rows = first + np.flatnonzero(allowed[first : first + BLOCK])
        if not len(rows):
            continue
        index.reset()
        index.add(np.ascontiguousarray(contents[rows], np.float32))
        distances, places = index.search(queries, min(count, len(rows)))
        all_scores = np.concatenate([scores, sign * distances], axis=1)
        all_rows = np.concatenate([best, rows[places]], axis=1)
        order = np.argsort(all_scores, axis=1, kind="stable")[:, :count]
        scores, best = (np.take_along_axis(one, order, axis=1) for one in (all_scores, all_rows))
    return best


def _ranked(
    users: np.ndarray, contents: np.ndarray, candidates: Int[np.ndarray, "users candidates"]
) -> Int[np.ndarray, "users 20"]:
    """Returns the candidates that are nearest by the vectors themselves."""
    ranked = np.full((len(users), K), -1)
    for user, rows in enumerate(candidates):
        rows = np.sort(rows[rows >= 0])
        best = np.argsort(-(contents[rows] @ users[user]), kind="stable")[:K]
        ranked[user, : len(best)] = rows[best]
    return ranked
