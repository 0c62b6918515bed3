"""Dropout with a mask that is cheap to draw on the CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout

LEVELS = 256
"""Number of values of the random byte that decides whether an entry is dropped."""


class Dropout(nn.Module):
    """Dropout: in training, zeroes entries at random and scales the others, so that the expectation stays the same.

    On the CPU, torch draws a mask number by number, which costs more than the rest of a layer. Here eight entries share
    one 64-bit number of torch's default generator, with a byte each. The same seed gives the same mask, and the
    probability is rounded to the nearest multiple of 1/256 other than 0 and 1.

    Args:
        probability: probability that an entry becomes zero, from 0 to below 1; 0 turns dropout off exactly.
    """

    def __init__(self, probability: float):
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"dropout must lie in 0 to 1, 1 excluded, got {probability}")
        self._probability = probability
        self._dropped_levels = min(max(round(LEVELS * probability), 1), LEVELS - 1)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Returns a tensor with dropped entries; `x` itself if nothing is dropped."""
        if not self.training or self._probability == 0:
            return x
        if x.device.type != "cpu":
            return dropout(x, self._probability)
        # Each value is at least half a level from 0, so that scaling and clamping gives exactly 0 or the factor. Levels
        # above 128 are multiples of two in bfloat16, so a probability above one half may be off by one level there.
        # Comparing bytes, or converting booleans to numbers, takes a CPU seven times as long as these operations.
        factor = LEVELS / (LEVELS - self._dropped_levels)
        mask = random_bytes(x.detach()).to(x.dtype).sub_(self._dropped_levels - 0.5).mul_(2 * factor)
        return x * mask.clamp_(0.0, factor)


# As a custom operator, it draws the same numbers in a compiled step, too, and the operations around it are fused. The
# tag keeps the compiler from sharing a draw, or from repeating it for the gradient.
@torch.library.custom_op("towers::random_bytes", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def random_bytes(x: Tensor) -> Tensor:
    """Draws bytes in the shape of `x`, uniform over all 256 values, on the CPU."""
    lowest = torch.iinfo(torch.int64).min
    # With None as upper end, the range is that of all 64 bits.
    numbers = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(lowest, None)
    return numbers.view(torch.uint8)[: x.numel()].view(x.shape)


@random_bytes.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=torch.uint8)
