"""Rates that differ by a gamma distribution: of listeners who come back, of contents that are played."""

import numpy as np
from jaxtyping import Float, Shaped
from scipy.optimize import fminbound
from scipy.special import gammaln


def gamma_shape(
    events: Shaped[np.ndarray, " of"], expected: Float[np.ndarray, " of"], weights: Float[np.ndarray, " of"]
) -> float:
    """The shape under which numbers of events are most likely, whose rates are gamma distributed about 1 (negative
    binomial).

    Args:
        events: number of each.
        expected: what it would be at rate 1.
        weights: how often each counts.
    """

    def loss(log_shape: float) -> float:
        shape = np.exp(log_shape)
        terms = gammaln(shape + events) - gammaln(shape) + shape * log_shape
        return -float(weights @ (terms - (shape + events) * np.log(shape + expected)))

    return float(np.exp(fminbound(loss, -3.0, 5.0)))
