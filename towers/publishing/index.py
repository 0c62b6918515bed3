"""Builds the FAISS index of an export: the same vectors always give the same file."""

from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from jaxtyping import Float

from towers.retrieval.index import INDEX_FILE, SPACE_ID_FILE, ExactIndex, FaissIndex, recall_of

CONTENTS_A_LIST = 39
"""Below this, k-means has too few points for a cell (and FAISS says so)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IvfSettings:
    """An inverted file over k-means cells; exact search where the catalogue is small.

    Args:
        min_contents: below this, exact search is quicker than any index.
        num_lists: at most so many cells; fewer where that would leave a cell fewer than 39 contents.
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
            num_lists = min(self.num_lists, max(1, len(vectors) // CONTENTS_A_LIST))
            index = faiss.IndexIVFFlat(index, dim, num_lists, faiss.METRIC_INNER_PRODUCT)
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
    """`recall_of` the index as it was written to `folder`."""
    return recall_of(FaissIndex(folder, space_id), ExactIndex(vectors), vectors, k)
