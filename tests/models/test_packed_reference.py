"""Packed attention against the formula, listener by listener, and against the rounding of the CUDA kernel."""

import pytest
import torch
from torch import Tensor

from towers.batch import Packing
from towers.models.attention import attend_packed

LENGTHS = ([0], [1, 0, 5], [70, 3, 0, 25], [5, 0, 130, 64])
HEADS, HEAD_DIM = 2, 32
KERNEL_TOLERANCE = 0.05
"""Largest difference allowed between the kernel on a GPU and `attend_packed` on a CPU, in float64."""


def packed_case(lengths: list[int], dtype: torch.dtype) -> tuple[Packing, list[Tensor]]:
    packing = Packing.of(torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None])
    generator = torch.Generator().manual_seed(sum(lengths))
    parts = torch.randn(3, int(packing.starts[-1]), HEADS, HEAD_DIM, generator=generator).bfloat16().to(dtype)
    return packing, [part.requires_grad_() for part in parts]


def by_the_formula(query: Tensor, key: Tensor, value: Tensor, packing: Packing, stored=lambda x: x) -> Tensor:
    """Returns the softmax of scaled products with the token itself and earlier ones; `stored` rounds as the kernel
    does.
    """
    found = []
    for first, end in zip(packing.starts.tolist(), packing.starts[1:].tolist(), strict=False):
        own, others, values = query[first:end], key[first:end], value[first:end]
        for head in range(HEADS):
            scores = own[:, head] @ others[:, head].T / HEAD_DIM**0.5
            later = torch.ones_like(scores).triu(1).bool()
            shifted = scores.masked_fill(later, -torch.inf)
            exponentials = (shifted - shifted.amax(dim=1, keepdim=True)).exp()
            weighted = stored(exponentials) @ values[:, head] / exponentials.sum(dim=1, keepdim=True)
            found.append((first, end, head, stored(weighted)))
    out = torch.empty_like(query)
    for first, end, head, part in found:
        out[first:end, head] = part
    return out


def with_gradients(attend, parts: list[Tensor]) -> list[Tensor]:
    output = attend(*parts)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), parts)]


@pytest.mark.parametrize("lengths", LENGTHS)
def test_in_float32_it_is_the_formula_of_float64(lengths):
    packing, parts = packed_case(lengths, torch.float32)
    _, doubles = packed_case(lengths, torch.float64)
    expected = with_gradients(lambda *qkv: by_the_formula(*qkv, packing), doubles)
    found = with_gradients(lambda *qkv: attend_packed(*qkv, packing), parts)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=2e-6, rtol=2e-5)


def test_what_the_kernel_rounds_stays_within_the_bound_that_a_card_is_held_to():
    """The kernel takes and gives bfloat16, keeps exponentials in bfloat16 for the second product, and sums in float32.
    Tests marked gpu allow more than twice the error of these roundings, and a tenth of that of a wrong key.
    """
    packing, parts = packed_case(LENGTHS[-1], torch.float32)
    exact = attend_packed(*parts, packing)
    rounded = by_the_formula(*parts, packing, stored=lambda x: x.bfloat16().float())
    assert 1e-3 < (rounded - exact).abs().max() < KERNEL_TOLERANCE / 2
    shifted = attend_packed(parts[0], parts[1].roll(1, dims=0), parts[2], packing)
    assert (shifted - exact).abs().max() > 10 * KERNEL_TOLERANCE
