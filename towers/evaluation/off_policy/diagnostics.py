"""Whether a log says anything of a policy at all: how even its importance weights are, and what it never shows."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

QUANTILES = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDiagnostics:
    """Figures of the weights of all requests at one slot.

    Args:
        requests: how many there are.
        effective: effective sample size, `(sum w)^2 / sum w^2` (Kish 1965): as many requests of the new policy itself
            would say as much.
        largest_share: share of the largest weight in the sum of all.
        largest: weight.
        mean: of the weights; 1 where the propensities are right and the log holds all that the new policy shows. What
            it is below 1 is the new policy's chance of what the log could never show.
        mean_error: standard error of the mean.
        never: share of requests whose weight is 0, as the new policy never shows what was shown.
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
        """The figures of some weights; where all are 0 nothing is effective and one weight holds everything."""
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
        """Effective sample size over requests."""
        return self.effective / self.requests
