"""The principal axes of a space: turned onto them, leading dimensions can be used by themselves.

A turn changes no inner product, so nothing of the space is lost. (Netflix turns its spaces likewise before they are
mapped onto each other: arXiv 2508.07574.)
"""

import numpy as np
from jaxtyping import Float, Int

from towers.data.store import Store
from towers.publishing.tables import blocks_of
from towers.retrieval.directions import directions_of

AT_MOST = 4_096
"""Listeners that the axes are fitted on."""
WEIGHT_OF_LISTENERS = 6.0
"""Theirs, all together, beside 1 of all contents; chosen in validation (docs/log.md)."""


def principal_axes(
    contents: Float[np.ndarray, "contents dim"], listeners: Float[np.ndarray, "listeners dim"]
) -> Float[np.ndarray, "dim dim"]:
    """Orthonormal directions, one a row, by how much of the contents and listeners lies along them; the most first.

    The mean is not taken off: that would change inner products.

    Args:
        contents: unit vectors of the model; may be memory-mapped.
        listeners: likewise; perhaps none.

    Returns:
        float64.
    """
    return directions_of(_moment(contents) + WEIGHT_OF_LISTENERS * _moment(listeners))


def fitting_listeners(store: Store, seed: int = 0) -> Int[np.ndarray, " listeners"]:
    """Rows of half of those who did something before the test period, ascending; of many `AT_MOST` are drawn.

    The others are left to judge by.
    """
    histories = store.histories
    rows = np.flatnonzero(histories.known_until("test") > histories.offsets[:-1])
    return np.sort(np.random.default_rng(seed).permutation(rows)[: min(len(rows) // 2, AT_MOST)])


def _moment(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "dim dim"]:
    """Mean outer product, float64, block by block."""
    moment = np.zeros((vectors.shape[1], vectors.shape[1]))
    for block in blocks_of(vectors):
        rows = np.asarray(block, np.float64)
        moment += rows.T @ rows
    return moment / max(len(vectors), 1)
