"""Principal axes of a space: rotated onto them, the leading dimensions of vectors can be used by themselves.

A rotation changes no inner product, so no information is lost. (Netflix rotates its spaces in the same way before it
maps them onto each other: arXiv 2508.07574.)
"""

import numpy as np
from jaxtyping import Float, Int

from towers.data.store import Store
from towers.publishing.tables import blocks_of
from towers.retrieval.directions import directions_of

AT_MOST = 4_096
"""Largest number of listeners that the axes are fitted on."""
WEIGHT_OF_LISTENERS = 6.0
"""Weight of all listeners together, beside 1 for all contents; chosen in validation (docs/log.md)."""


def principal_axes(
    contents: Float[np.ndarray, "contents dim"], listeners: Float[np.ndarray, "listeners dim"]
) -> Float[np.ndarray, "dim dim"]:
    """Returns orthonormal directions, one a row, in descending order of the contents' and listeners' energy along them.

    The mean is not subtracted: that would change inner products.

    Args:
        contents: unit vectors of the model; may be memory-mapped.
        listeners: unit vectors of the model; may be empty.

    Returns:
        float64.
    """
    return directions_of(_moment(contents) + WEIGHT_OF_LISTENERS * _moment(listeners))


def fitting_listeners(store: Store, seed: int = 0) -> Int[np.ndarray, " listeners"]:
    """Returns rows of half of the listeners with events before the test period, ascending; at most `AT_MOST`, drawn at
    random.

    The other listeners are left for evaluation.
    """
    histories = store.histories
    rows = np.flatnonzero(histories.known_until("test") > histories.offsets[:-1])
    return np.sort(np.random.default_rng(seed).permutation(rows)[: min(len(rows) // 2, AT_MOST)])


def _moment(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "dim dim"]:
    """Returns the mean outer product, float64, computed block by block."""
    moment = np.zeros((vectors.shape[1], vectors.shape[1]))
    for block in blocks_of(vectors):
        rows = np.asarray(block, np.float64)
        moment += rows.T @ rows
    return moment / max(len(vectors), 1)
