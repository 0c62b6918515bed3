"""The space in two dimensions, for people to look at; the page of `towers serve` draws it."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

MAX_EMBEDDED = 5_000
"""Contents that t-SNE moves: a minute or two on one core. As many as a page draws."""

FEWEST_FOR_TSNE = 50
"""t-SNE with its usual perplexity of 30 says nothing of fewer."""

PERPLEXITY = 30.0
NUM_NEIGHBOURS = 5
BLOCK = 4_096


def content_map(vectors: Float[np.ndarray, "contents dim"], seed: int = 0) -> Float[np.ndarray, "contents 2"]:
    """t-SNE (van der Maaten and Hinton 2008), started from the two principal components; of a few contents these alone.

    Of more than `MAX_EMBEDDED` contents an even sample is embedded, and each of the others stands at the mean of its
    `NUM_NEIGHBOURS` nearest in the sample. It runs on one thread, so that the same vectors give the same bytes whatever
    the number of cores.

    Args:
        vectors: float32, unit.
        seed: of t-SNE.

    Returns:
        float32, from -1 to 1, without a unit.
    """
    with threadpool_limits(1):
        sampled = _even_sample(len(vectors))
        sample = np.asarray(vectors[sampled], np.float32)
        places = np.zeros((len(vectors), 2), np.float32)
        places[sampled] = _embedded(sample, seed)
        others = np.setdiff1d(np.arange(len(vectors)), sampled)
        for first in range(0, len(others), BLOCK):
            rows = others[first : first + BLOCK]
            places[rows] = places[sampled[_nearest(np.asarray(vectors[rows], np.float32), sample)]].mean(axis=1)
    return places / (np.abs(places).max(initial=0) or 1)


def _even_sample(count: int) -> Int[np.ndarray, " sampled"]:
    return np.arange(count) if count <= MAX_EMBEDDED else np.linspace(0, count - 1, MAX_EMBEDDED).astype(np.int64)


def _embedded(vectors: Float[np.ndarray, "sampled dim"], seed: int) -> Float[np.ndarray, "sampled 2"]:
    """Of spread 1e-4 along the first axis the start is as sklearn makes it from its own components."""
    components = _principal(vectors)
    if len(vectors) < FEWEST_FOR_TSNE:
        return components
    start: Any = components / (components[:, 0].std() or 1) * 1e-4  # sklearn's annotation knows names alone
    return TSNE(n_components=2, init=start, perplexity=PERPLEXITY, random_state=seed).fit_transform(vectors)


def _principal(vectors: Float[np.ndarray, "sampled dim"]) -> Float[np.ndarray, "sampled 2"]:
    """Two principal components, each of the sign that makes its largest weight positive."""
    places = np.zeros((len(vectors), 2), np.float32)
    if len(vectors):
        centred = vectors - vectors.mean(axis=0)
        axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)[1][:, ::-1][:, :2]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
        places[:, : axes.shape[1]] = centred @ axes
    return places


def _nearest(
    queries: Float[np.ndarray, "queries dim"], sample: Float[np.ndarray, "sampled dim"]
) -> Int[np.ndarray, "queries neighbours"]:
    scores = queries @ sample.T
    return np.argpartition(-scores, NUM_NEIGHBOURS, axis=1)[:, :NUM_NEIGHBOURS]
