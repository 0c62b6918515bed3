"""Vectors in two dimensions, for people to look at. Serving draws principal components alone, so t-SNE's library is
imported where it is used."""

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Integer

from towers.retrieval.directions import directions_of

Method = Literal["t-SNE", "PCA"]

FEWEST_FOR_TSNE = 50
"""t-SNE with its usual perplexity of 30 says nothing of fewer."""

PERPLEXITY = 30.0
BLOCK = 65_536
"""Vectors that principal components read at a time: they may be memory-mapped, and more than fit into memory."""


def project(vectors: Float[np.ndarray, "rows dim"], seed: int = 0) -> tuple[Method, Float[np.ndarray, "rows 2"]]:
    """t-SNE, or of a few vectors their principal components alone: which of the two, and where each vector stands.

    Args:
        vectors: in memory.
        seed: of t-SNE.

    Returns:
        The method and float32 places, without a unit.
    """
    if len(vectors) < FEWEST_FOR_TSNE:
        return "PCA", principal_components(vectors)
    return "t-SNE", t_sne(vectors, seed)


def principal_components(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows 2"]:
    """The two of most variance, float32, each of the sign that makes its largest weight positive.

    Where there is but one dimension, the second component is 0; no vectors have no places.
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
    """t-SNE (van der Maaten and Hinton 2008), started from the principal components; of more than 30 vectors.

    Of spread 1e-4 along the first axis the start is as scikit-learn makes it from its own components.
    """
    from sklearn.manifold import TSNE

    components = principal_components(vectors)
    start: Any = components / (components[:, 0].std() or 1) * 1e-4  # sklearn's annotation knows names alone
    return TSNE(n_components=2, init=start, perplexity=PERPLEXITY, random_state=seed).fit_transform(vectors)


def even_sample(count: int, limit: int) -> Integer[np.ndarray, " sampled"]:
    """All rows, or `limit` of them at even distances."""
    return np.arange(count) if count <= limit else np.linspace(0, count - 1, limit).astype(np.int64)
