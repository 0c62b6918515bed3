"""What inner products of unit vectors are divided by, so that they can tell contents apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Temperature(nn.Module):
    """Divides states; learned as its logarithm, and kept within its bounds.

    Args:
        start: the temperature, above 0; the start where it is learned.
        is_learned: whether it is.
    """

    MIN, MAX = 0.01, 1.0

    def __init__(self, start: float, is_learned: bool):
        super().__init__()
        if not start > 0:
            raise ValueError(f"temperature must be above 0, got {start}")
        self.logarithm = nn.Parameter(torch.tensor(float(start)).log(), requires_grad=is_learned)

    @property
    def value(self) -> Float[Tensor, ""]:
        """Within the bounds."""
        return self.logarithm.exp().clamp(self.MIN, self.MAX)

    def forward(self, states: Float[Tensor, "targets dim"]) -> Float[Tensor, "targets dim"]:
        """The states divided, in float32 at least: in bfloat16 the logits would be off by some hundredths."""
        return states.to(torch.promote_types(states.dtype, torch.float32)) / self.value
