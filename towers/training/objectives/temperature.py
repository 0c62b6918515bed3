"""Temperature that divides inner products of unit vectors, so that the softmax can tell contents apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Temperature(nn.Module):
    """A temperature that divides states; learned as its logarithm, and kept within `MIN` to `MAX`.

    Args:
        start: temperature, .01 to 1; the initial one if learned.
        is_learned: whether the temperature is learned.
    """

    MIN, MAX = 0.01, 1.0

    def __init__(self, start: float, is_learned: bool):
        super().__init__()
        if not self.MIN <= start <= self.MAX:
            raise ValueError(f"temperature must lie in {self.MIN} to {self.MAX}, got {start}")
        self.logarithm = nn.Parameter(torch.tensor(float(start)).log(), requires_grad=is_learned)

    @property
    def value(self) -> Float[Tensor, ""]:
        """Temperature within its bounds; its gradient ignores the bounds, so that it can return from outside."""
        value = self.logarithm.exp()
        return value + (value.clamp(self.MIN, self.MAX) - value).detach()

    def forward(self, states: Float[Tensor, "targets dim"]) -> Float[Tensor, "targets dim"]:
        """Divides states, in float32 at least: in bfloat16 the logits would be off by some hundredths."""
        return states.to(torch.promote_types(states.dtype, torch.float32)) / self.value
