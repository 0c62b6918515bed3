"""How far the classes of a list are from those of a history: one definition for whoever makes lists and judges them."""

import numpy as np
from jaxtyping import Float

ALPHA = 0.01
"""How much of the listener's own distribution is mixed into the list's, as in the paper."""


def kl_terms(
    p: Float[np.ndarray, "*shape"], q: Float[np.ndarray, "*shape"], alpha: float = ALPHA
) -> Float[np.ndarray, "*shape"]:
    """What each class adds to KL(p || q~): p log(p / q~) with q~ = (1 - alpha) q + alpha p; 0 where p is.

    Steck 2018, "Calibrated recommendations", equations 5 and 6.

    Args:
        p: share of each class in the history.
        q: share of each class in the list.
        alpha: 0 to 1; keeps the sum finite, at most `log(1 / alpha)`.
    """
    has_share = p > 0
    mixed = np.where(has_share, (1 - alpha) * q + alpha * p, 1.0)
    return p * np.log(np.where(has_share, p, 1.0) / mixed)


def calibration_kl(
    p: Float[np.ndarray, "*lists classes"], q: Float[np.ndarray, "*lists classes"], alpha: float = ALPHA
) -> Float[np.ndarray, "*lists"]:
    """KL(p || q~) in nats, the sum of `kl_terms`: 0 is a list in the listener's own shares.

    >>> float(calibration_kl(np.array([0.5, 0.5]), np.array([0.5, 0.5])))
    0.0
    """
    return np.asarray(kl_terms(p, q, alpha).sum(axis=-1))
