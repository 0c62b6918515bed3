"""The space in two dimensions, for people to look at; the page of `towers serve` draws it."""

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from towers.retrieval.projection_2d import even_sample, project

MAX_EMBEDDED = 5_000
"""Largest number of contents that t-SNE embeds, a minute or two on one core; as many as a page draws."""

NUM_NEIGHBOURS = 5
BLOCK = 4_096


def content_map(vectors: Float[np.ndarray, "contents dim"], seed: int = 0) -> Float[np.ndarray, "contents 2"]:
    """Embeds contents by t-SNE (van der Maaten and Hinton 2008), started from the two principal components; a few
    contents are only projected on these.

    Of more than `MAX_EMBEDDED` contents an even sample is embedded, and each of the others is placed at the mean of its
    `NUM_NEIGHBOURS` nearest in the sample. It runs on one thread, so that the same vectors give the same bytes on any
    number of cores.

    Args:
        vectors: float32, unit.
        seed: seed of t-SNE.

    Returns:
        float32, from -1 to 1, without a unit.
    """
    with threadpool_limits(1):
        sampled = even_sample(len(vectors), MAX_EMBEDDED)
        sample = np.asarray(vectors[sampled], np.float32)
        places = np.zeros((len(vectors), 2), np.float32)
        _, places[sampled] = project(sample, seed)
        others = np.setdiff1d(np.arange(len(vectors)), sampled)
        for first in range(0, len(others), BLOCK):
            rows = others[first : first + BLOCK]
            places[rows] = places[sampled[_nearest(np.asarray(vectors[rows], np.float32), sample)]].mean(axis=1)
    return places / (np.abs(places).max(initial=0) or 1)


def _nearest(
    queries: Float[np.ndarray, "queries dim"], sample: Float[np.ndarray, "sampled dim"]
) -> Int[np.ndarray, "queries neighbours"]:
    scores = queries @ sample.T
    return np.argpartition(-scores, NUM_NEIGHBOURS, axis=1)[:, :NUM_NEIGHBOURS]
