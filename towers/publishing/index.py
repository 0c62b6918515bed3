"""Builds the FAISS index of an export: the same vectors always give the same file."""

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float

from towers.retrieval.index import INDEX_FILE, SPACE_ID_FILE, ExactIndex, FaissIndex

QUERIES_FOR_RECALL = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IvfSettings:
    """An inverted file over k-means cells; exact search where the catalogue is small.

    Args:
        min_contents: below this, exact search is quicker than any index.
        num_lists: cells.
        num_probes: cells searched for a query.
    """

    min_contents: int
    num_lists: int
    num_probes: int

    def build(self, vectors: Float[np.ndarray, "contents dim"], folder: Path, space_id: str) -> None:
        """Writes the index and the space it belongs to below `folder`."""
        dim = vectors.shape[1]
        index: faiss.Index = faiss.IndexFlatIP(dim)
        if len(vectors) >= self.min_contents:
            index = faiss.IndexIVFFlat(index, dim, self.num_lists, faiss.METRIC_INNER_PRODUCT)
            index.nprobe = self.num_probes
            threads = faiss.omp_get_max_threads()
            faiss.omp_set_num_threads(1)  # sums in another order would give other centroids
            try:
                index.train(vectors)
            finally:
                faiss.omp_set_num_threads(threads)
        index.add(vectors)
        folder.mkdir(parents=True, exist_ok=True)
        faiss.write_index(index, str(folder / INDEX_FILE))
        (folder / SPACE_ID_FILE).write_text(space_id + "\n")


def recall_of_index(folder: Path, space_id: str, vectors: Float[np.ndarray, "contents dim"], k: int = 10) -> float:
    """Share of the exact nearest k that the index finds, over evenly spaced contents as queries."""
    queries = vectors[:: max(1, len(vectors) // QUERIES_FOR_RECALL)]
    allowed = np.ones(len(vectors), bool)
    expected, _ = ExactIndex(vectors).search(queries, k, allowed)
    found, _ = FaissIndex(folder, space_id).search(queries, k, allowed)
    hits = [len(np.intersect1d(a[a >= 0], b)) / max((a >= 0).sum(), 1) for a, b in zip(expected, found, strict=True)]
    return float(np.mean(hits)) if hits else 1.0
