"""Reliability of predicted chances: their agreement with observed outcomes."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

BINS = 10


def reliability(
    chances: Float[np.ndarray, " pairs"],
    came: Bool[np.ndarray, " pairs"] | Float[np.ndarray, " pairs"],
    weight: Float[np.ndarray, " pairs"] | None = None,
) -> dict[str, Any]:
    """Returns predicted and observed means, in bins by ascending chance.

    Each bin has a tenth of the expected outcomes; with equal numbers of pairs, nearly all bins would be near 0.

    Args:
        chances: predicted chances, 0 to 1.
        came: outcome of each pair, as a bool or as a reward from 0 to 1.
        weight: number of pairs that each represents; null: one.

    Returns:
        `expected` and `observed` means, `calibration_error` (the sum over bins of the absolute difference of expected
        and observed outcomes, as a share of all expected ones; NaN if all chances are 0), and `bins`; empty without
        pairs.
    """
    if not len(chances):
        return {}
    weight = np.ones(len(chances)) if weight is None else weight
    order = np.argsort(chances, kind="stable")
    chances, came, weight = chances[order], came[order].astype(np.float64), weight[order]
    expects = np.cumsum(chances * weight)
    bin_of = np.minimum((BINS * (expects - chances * weight) / (expects[-1] or 1)).astype(np.int64), BINS - 1)
    pairs, expected, observed = (
        np.bincount(bin_of, values, minlength=BINS) for values in (weight, weight * chances, weight * came)
    )
    filled = pairs > 0
    bins = [
        {"pairs": float(n), "expected": float(e / n), "observed": float(o / n)}
        for n, e, o in zip(pairs[filled], expected[filled], observed[filled], strict=True)
    ]
    return {
        "pairs": float(pairs.sum()),
        "expected": float(expected.sum() / pairs.sum()),
        "observed": float(observed.sum() / pairs.sum()),
        "calibration_error": float(np.abs(expected - observed).sum() / expected.sum()) if expects[-1] else float("nan"),
        "bins": bins,
    }
