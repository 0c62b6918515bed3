"""Dropout whose mask costs a processor little."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout

LEVELS = 256
"""Values of the byte that decides on an entry."""


class Dropout(nn.Module):
    """In training, entries become zero at random and the others grow so that the expectation stays.

    On the CPU torch draws a mask number by number, for more than the rest of a layer costs. Here eight entries share
    one 64-bit number of torch's default generator, a byte each; so the same seed gives the same mask, and the
    probability is a multiple of 1/256, the nearest that is neither 0 nor 1.

    Args:
        probability: that an entry becomes zero, 0 to 1, 1 excluded; 0 is exactly off.
    """

    def __init__(self, probability: float):
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"dropout must lie in 0 to 1, 1 excluded, got {probability}")
        self._probability = probability
        self._dropped_levels = min(max(round(LEVELS * probability), 1), LEVELS - 1)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """A tensor with dropped elements; `x` itself where nothing is dropped."""
        if not self.training or self._probability == 0:
            return x
        if x.device.type != "cpu":
            return dropout(x, self._probability)
        # At least half a level above 0 or below: scaled and cut off, that is the factor or 0, exactly. (bfloat16 holds
        # levels above 128 in steps of two: where more than half is dropped, its share may be off by one level.)
        # To compare bytes, or to make numbers of what is true, takes a processor seven times as long as such a pass.
        factor = LEVELS / (LEVELS - self._dropped_levels)
        mask = random_bytes(x.detach()).to(x.dtype).sub_(self._dropped_levels - 0.5).mul_(2 * factor)
        return x * mask.clamp_(0.0, factor)


# As an operator of its own it is drawn by torch in a compiled step too, with the same numbers, and what surrounds it is
# fused. The tag forbids the compiler to share a draw, or to repeat it for the gradient.
@torch.library.custom_op("towers::random_bytes", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def random_bytes(x: Tensor) -> Tensor:
    """Bytes in the shape of `x`, uniform over all 256 values, on the CPU."""
    lowest = torch.iinfo(torch.int64).min
    # Without an end the range is that of all 64 bits.
    numbers = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(lowest, None)
    return numbers.view(torch.uint8)[: x.numel()].view(x.shape)


@random_bytes.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=torch.uint8)
