"""Gamma-distributed rates: of listeners who come back, of contents that are played."""

import numpy as np
from jaxtyping import Float, Shaped
from scipy.optimize import fminbound
from scipy.special import gammaln


def gamma_shape(
    events: Shaped[np.ndarray, " of"], expected: Float[np.ndarray, " of"], weights: Float[np.ndarray, " of"]
) -> float:
    """Returns the likeliest shape for counts of events whose rates are gamma distributed with mean 1 (negative
    binomial).

    Args:
        events: number of events of each.
        expected: expected number of events at rate 1.
        weights: weight of each.
    """

    def loss(log_shape: float) -> float:
        shape = np.exp(log_shape)
        terms = gammaln(shape + events) - gammaln(shape) + shape * log_shape
        return -float(weights @ (terms - (shape + events) * np.log(shape + expected)))

    return float(np.exp(fminbound(loss, -3.0, 5.0)))
