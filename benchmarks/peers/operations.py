"""Floating-point operations of what runs in a block, by torch's own counter, taught what it does not know.

A causal attention counts half. Only benchmarks use it.
"""

from typing import Any, TypeAlias

import torch
import torch.nn.attention.varlen
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

ATTENTION = ("scaled_dot_product", "flash", "efficient_attention", "varlen_attn")
Shape: TypeAlias = tuple[int, ...]


def operation_counter() -> FlopCounterMode:
    """A context manager that counts; `operations` reads it."""
    aten, packed = torch.ops.aten, torch.ops.torch_attn
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten.addmm_: _product,
            aten._scaled_dot_product_flash_attention_for_cpu: _attention,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
            packed._varlen_attn: _packed_attention,
            packed._varlen_attn_backward: _packed_attention_backward,
        },
    )


def operations(counter: FlopCounterMode) -> float:
    """Counts of operations."""
    counts = counter.get_flop_counts()["Global"]
    return sum(count / 2 if any(name in str(of) for name in ATTENTION) else count for of, count in counts.items())


def _product(into: Shape, one: Shape, other: Shape, **_: object) -> int:
    return 2 * one[0] * one[1] * other[1]


def _attention(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


def _packed_attention(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, *_: Any, **__: Any) -> int:
    return sum(sdpa_flop_count(*(shape,) * 3) for shape in _sequences(query, offsets))


def _packed_attention_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, sums: Tensor, offsets: Tensor,
    *_: Any, **__: Any,
) -> int:  # fmt: skip
    return sum(sdpa_backward_flop_count(*(shape,) * 4) for shape in _sequences(query, offsets))


def _sequences(query: Tensor, offsets: Tensor) -> list[Shape]:
    """Counts as if each sequence of the packed `[tokens, heads, head_dim]` were a batch of its own."""
    return [(1, query.shape[1], length, query.shape[2]) for length in offsets.diff().tolist()]


for _formula in (_packed_attention, _packed_attention_backward):
    # The counter then hands over tensors in the place of shapes; register_flop_formula would set it for all callers.
    _formula._get_raw = True
