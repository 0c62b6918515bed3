"""Groups of listeners by k-means of their vectors, as the published experiment has them."""

import faiss
import numpy as np
from jaxtyping import Float, Int

SAMPLE_PER_SEGMENT = 256
"""Listeners a centre is fitted to at most; more make it no better (faiss' own bound)."""


def segments_of(vectors: Float[np.ndarray, "listeners dim"], segments: int, seed: int) -> Int[np.ndarray, " listeners"]:
    """The nearest of as many centres for each listener, from 0.

    Args:
        vectors: of the listeners.
        segments: how many centres; fewer where there are fewer listeners.
        seed: of the first centres.
    """
    single = np.ascontiguousarray(vectors, dtype=np.float32)
    fitted = faiss.Kmeans(
        single.shape[1], min(segments, len(single)), niter=20, seed=seed,
        min_points_per_centroid=1, max_points_per_centroid=SAMPLE_PER_SEGMENT,
    )  # fmt: skip
    fitted.train(single)
    return fitted.assign(single)[1]
