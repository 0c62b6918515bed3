"""Segments of listeners by k-means of their vectors, as in the published experiment."""

import faiss
import numpy as np
from jaxtyping import Float, Int

SAMPLE_PER_SEGMENT = 256
"""Maximum number of listeners that a centre is fitted to; more do not improve it (faiss' own bound)."""


def segments_of(vectors: Float[np.ndarray, "listeners dim"], segments: int, seed: int) -> Int[np.ndarray, " listeners"]:
    """Returns the nearest of the centres for each listener, from 0.

    Args:
        vectors: vectors of the listeners.
        segments: number of centres; fewer where there are fewer listeners.
        seed: seed of the first centres.
    """
    single = np.ascontiguousarray(vectors, dtype=np.float32)
    fitted = faiss.Kmeans(
        single.shape[1], min(segments, len(single)), niter=20, seed=seed,
        min_points_per_centroid=1, max_points_per_centroid=SAMPLE_PER_SEGMENT,
    )  # fmt: skip
    fitted.train(single)
    return fitted.assign(single)[1]
