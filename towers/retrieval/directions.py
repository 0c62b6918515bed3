"""The directions along which vectors have most of their energy."""

import numpy as np
from jaxtyping import Float


def directions_of(moment: Float[np.ndarray, "dim dim"]) -> Float[np.ndarray, "dim dim"]:
    """Unit eigenvectors of a sum of outer products, one a row, by falling eigenvalue.

    An eigenvector is given up to its sign: the component of the largest size is positive.
    """
    directions = np.linalg.eigh(moment)[1][:, ::-1].T
    strongest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    return directions * np.where(strongest < 0, -1, 1)[:, None]
