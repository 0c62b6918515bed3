"""Diagnostics of importance weights, which show whether a log can evaluate a policy at all."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

QUANTILES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDiagnostics:
    """Statistics of the importance weights of all requests at one slot.

    Args:
        requests: number of requests.
        effective: effective sample size, `(sum w)^2 / sum w^2` (Kish 1965): the number of requests of the new policy
            itself that would be as informative.
        largest_share: share of the largest weight in the sum of all.
        largest: largest weight.
        mean: mean weight; its expectation is 1 if the propensities are right and the log can show everything that the
            new policy shows. The deficit below 1 is the new policy's probability of actions that the log never shows.
        mean_error: standard error of the mean.
        never: share of requests with weight 0, whose action the new policy never shows.
        quantiles: weights at `QUANTILES`, by name.
    """

    requests: int
    effective: float
    largest_share: float
    largest: float
    mean: float
    mean_error: float
    never: float
    quantiles: dict[str, float]

    @classmethod
    def of(cls, weights: Float[np.ndarray, " requests"]) -> "WeightDiagnostics":
        """Computes the statistics; if all weights are 0, the effective size is 0 and the largest share is 1."""
        total, squares = float(weights.sum()), float(np.square(weights).sum())
        return cls(
            requests=len(weights),
            effective=total**2 / squares if squares > 0 else 0.0,
            largest_share=float(weights.max()) / total if total > 0 else 1.0,
            largest=float(weights.max()),
            mean=total / len(weights),
            mean_error=float(weights.std(ddof=1)) / len(weights) ** 0.5 if len(weights) > 1 else float("inf"),
            never=float((weights == 0).mean()),
            quantiles={f"{share:.1%}": float(np.quantile(weights, share)) for share in QUANTILES},
        )

    @property
    def effective_share(self) -> float:
        """Effective sample size as a share of the requests."""
        return self.effective / self.requests
