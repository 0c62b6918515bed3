"""Principal directions of vectors, from their second moment."""

import numpy as np
from jaxtyping import Float


def directions_of(moment: Float[np.ndarray, "dim dim"]) -> Float[np.ndarray, "dim dim"]:
    """Returns unit eigenvectors of a sum of outer products, one per row, by descending eigenvalue.

    The sign of an eigenvector is arbitrary; here its component of largest magnitude is positive.
    """
    directions = np.linalg.eigh(moment)[1][:, ::-1].T
    strongest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    return directions * np.where(strongest < 0, -1, 1)[:, None]
