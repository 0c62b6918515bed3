"""What a policy answers with: contents in their order, and the chance with which each was chosen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slate:
    """Contents shown together on one shelf, best first.

    Args:
        content_rows: `[slots]`, rows of the store or export.
        propensities: `[slots]`, the chance with which the policy chose each content for its slot, given the contents in
            the slots before; in (0, 1]. Their product is the chance of the whole slate.
        shelf: the row of the page, or the list, that it is shown on.

    Raises:
        ValueError: another number of propensities than of contents, a content that is shown twice, a row below 0, or a
            propensity outside (0, 1].
    """

    content_rows: Int[np.ndarray, " slots"]
    propensities: Float[np.ndarray, " slots"]
    shelf: str

    def __post_init__(self) -> None:
        if self.content_rows.shape != self.propensities.shape:
            raise ValueError(f"{len(self.content_rows)} content_rows have {len(self.propensities)} propensities")
        if len(np.unique(self.content_rows)) < len(self.content_rows):
            raise ValueError("content_rows must differ, and one is shown twice")
        if (self.content_rows < 0).any():
            raise ValueError(f"content_rows must be 0 or more, got {self.content_rows.min()}")
        is_chance = (self.propensities > 0) & (self.propensities <= 1)
        if not is_chance.all():
            raise ValueError(f"propensities must be above 0 and at most 1, got {self.propensities[~is_chance][0]}")

    def __len__(self) -> int:
        return len(self.content_rows)
