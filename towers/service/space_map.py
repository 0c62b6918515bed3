"""The space in two dimensions, as a page draws it."""

import numpy as np
from jaxtyping import Float, Integer

from towers.retrieval.export import Export
from towers.retrieval.files import reading

MAP_FILE = "content_map.npy"
BLOCK = 100_000


def places_of(export: Export) -> tuple[str, Float[np.ndarray, "contents 2"]]:
    """How the map was made, and where each content stands on it, from -1 to 1.

    The export's own map where it has one, else the two principal components of the vectors.
    """
    path = export.folder / MAP_FILE
    if path.exists():
        with reading(path):
            method, places = "content_map", np.load(path)
    else:
        method, places = "principal_components", principal_components(export.vectors)
    largest = np.abs(places).max(initial=0)
    return method, (places / (largest or 1)).astype(np.float32)


def principal_components(vectors: Float[np.ndarray, "contents dim"]) -> Float[np.ndarray, "contents 2"]:
    """Two of them, in float32; of either sign the one that makes the largest weight positive, so that they last."""
    blocks = range(0, len(vectors), BLOCK)
    mean = sum(vectors[first : first + BLOCK].sum(axis=0, dtype=np.float64) for first in blocks) / max(len(vectors), 1)
    scatter = np.zeros((vectors.shape[1], vectors.shape[1]))
    for first in blocks:
        centred = (vectors[first : first + BLOCK] - mean).astype(np.float32)
        scatter += centred.T @ centred
    _, axes = np.linalg.eigh(scatter)
    two = np.zeros((vectors.shape[1], 2))
    found = axes[:, ::-1][:, :2]
    two[:, : found.shape[1]] = found
    two *= np.where(two[np.abs(two).argmax(axis=0), [0, 1]] < 0, -1, 1)
    places = [(vectors[first : first + BLOCK] - mean) @ two for first in blocks]
    return np.concatenate([np.zeros((0, 2)), *places]).astype(np.float32)


def even_sample(count: int, limit: int) -> Integer[np.ndarray, " sampled"]:
    """All rows, or `limit` of them at even distances."""
    return np.arange(count) if count <= limit else np.linspace(0, count - 1, limit).astype(np.int64)
