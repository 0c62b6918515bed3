"""Divergence of a list's genre or kind shares from a listener's own; used both to build lists and to evaluate them."""

import numpy as np
from jaxtyping import Float

ALPHA = 0.01
"""Weight of the listener's own distribution that is mixed into the list's, as in the paper."""


def kl_terms(
    p: Float[np.ndarray, "*shape"], q: Float[np.ndarray, "*shape"], alpha: float = ALPHA
) -> Float[np.ndarray, "*shape"]:
    """Returns each class's term of KL(p || q~): p log(p / q~) with q~ = (1 - alpha) q + alpha p; 0 where p is 0.

    Steck 2018, "Calibrated recommendations", equations 5 and 6.

    Args:
        p: share of each class in the history.
        q: share of each class in the list.
        alpha: smoothing weight, 0 to 1; keeps the sum finite, at most `log(1 / alpha)`.
    """
    has_share = p > 0
    mixed = np.where(has_share, (1 - alpha) * q + alpha * p, 1.0)
    return p * np.log(np.where(has_share, p, 1.0) / mixed)


def calibration_kl(
    p: Float[np.ndarray, "*lists classes"], q: Float[np.ndarray, "*lists classes"], alpha: float = ALPHA
) -> Float[np.ndarray, "*lists"]:
    """Returns KL(p || q~) in nats, the sum of `kl_terms`; 0 if the list has exactly the listener's own shares.

    >>> float(calibration_kl(np.array([0.5, 0.5]), np.array([0.5, 0.5])))
    0.0
    """
    return np.asarray(kl_terms(p, q, alpha).sum(axis=-1))
