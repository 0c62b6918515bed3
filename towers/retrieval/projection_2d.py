"""Projection of vectors to two dimensions for plots. Serving needs only principal components, so the library of t-SNE
is imported on use."""

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Integer

from towers.retrieval.directions import directions_of

Method = Literal["t-SNE", "PCA"]

FEWEST_FOR_TSNE = 50
"""Smallest number of vectors for t-SNE with its usual perplexity of 30."""

PERPLEXITY = 30.0
BLOCK = 65_536
"""Number of vectors per block for principal components, as memory-mapped vectors may not fit into memory."""


def project(vectors: Float[np.ndarray, "rows dim"], seed: int = 0) -> tuple[Method, Float[np.ndarray, "rows 2"]]:
    """Projects vectors by t-SNE, or by principal components if there are fewer than `FEWEST_FOR_TSNE`.

    Args:
        vectors: vectors in memory.
        seed: seed of t-SNE.

    Returns:
        The method used, and float32 coordinates without a unit.
    """
    if len(vectors) < FEWEST_FOR_TSNE:
        return "PCA", principal_components(vectors)
    return "t-SNE", t_sne(vectors, seed)


def principal_components(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows 2"]:
    """Returns the coordinates of vectors on the two components of largest variance, float32.

    The sign of a component makes its largest weight positive. For one-dimensional vectors the second coordinate is 0;
    without vectors the result is empty.
    """
    places = np.zeros((len(vectors), 2), np.float32)
    blocks = [slice(first, first + BLOCK) for first in range(0, len(vectors), BLOCK)]
    if not blocks:
        return places
    means = [np.asarray(vectors[block], np.float32).mean(axis=0) for block in blocks]
    sizes = [len(vectors[block]) for block in blocks]
    mean = np.average(np.asarray(means, np.float64), axis=0, weights=sizes).astype(np.float32)
    scatter = np.zeros((vectors.shape[1], vectors.shape[1]))
    for block in blocks:
        centred = np.asarray(vectors[block], np.float32) - mean
        scatter += centred.T.astype(np.float64) @ centred
    axes = directions_of(scatter)[:2].T
    for block in blocks:
        places[block, : axes.shape[1]] = (np.asarray(vectors[block], np.float32) - mean) @ axes
    return places


def t_sne(vectors: Float[np.ndarray, "rows dim"], seed: int = 0) -> Float[np.ndarray, "rows 2"]:
    """Projects more than 30 vectors by t-SNE (van der Maaten and Hinton 2008), starting from principal components.

    The start has a standard deviation of 1e-4 along the first axis, as scikit-learn's own PCA start has.
    """
    from sklearn.manifold import TSNE

    components = principal_components(vectors)
    start: Any = components / (components[:, 0].std() or 1) * 1e-4  # sklearn annotates `init` as a string
    return TSNE(n_components=2, init=start, perplexity=PERPLEXITY, random_state=seed).fit_transform(vectors)


def even_sample(count: int, limit: int) -> Integer[np.ndarray, " sampled"]:
    """Returns all rows, or `limit` evenly spaced ones."""
    return np.arange(count) if count <= limit else np.linspace(0, count - 1, limit).astype(np.int64)
