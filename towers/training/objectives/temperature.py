"""What inner products of unit vectors are divided by, so that they can tell contents apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Temperature(nn.Module):
    """Divides states; learned as its logarithm, and kept within its bounds.

    Args:
        start: the temperature, .01 to 1; the start where it is learned.
        is_learned: whether it is.
    """

    MIN, MAX = 0.01, 1.0

    def __init__(self, start: float, is_learned: bool):
        super().__init__()
        if not self.MIN <= start <= self.MAX:
            raise ValueError(f"temperature must lie in {self.MIN} to {self.MAX}, got {start}")
        self.logarithm = nn.Parameter(torch.tensor(float(start)).log(), requires_grad=is_learned)

    @property
    def value(self) -> Float[Tensor, ""]:
        """Within the bounds; the gradient is as without them, so that it finds its way back."""
        value = self.logarithm.exp()
        return value + (value.clamp(self.MIN, self.MAX) - value).detach()

    def forward(self, states: Float[Tensor, "targets dim"]) -> Float[Tensor, "targets dim"]:
        """The states divided, in float32 at least: in bfloat16 the logits would be off by some hundredths."""
        return states.to(torch.promote_types(states.dtype, torch.float32)) / self.value
