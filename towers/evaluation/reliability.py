"""How far chances agree with what came."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

BINS = 10


def reliability(
    chances: Float[np.ndarray, " pairs"],
    came: Bool[np.ndarray, " pairs"] | Float[np.ndarray, " pairs"],
    weight: Float[np.ndarray, " pairs"] | None = None,
) -> dict[str, Any]:
    """Mean chance and share that came, in bins by rising chance.

    Each bin expects a tenth of all that is expected: in tenths of the pairs nearly all chances are near 0.

    Args:
        chances: 0 to 1.
        came: whether it did, or how much of it, 0 to 1: a reward.
        weight: how many pairs each stands for; null: one.

    Returns:
        `expected` and `observed` means, `calibration_error` (the mean distance between the two over bins, weighted by
        what they expect, as a share of the mean chance; NaN where all chances are 0), and `bins`; empty without a pair.
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
