"""Attention in a window and over packed tokens equals full attention under a mask, value and gradient."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from tests.models.test_packed_reference import KERNEL_TOLERANCE
from towers.batch import Packing
from towers.models import attention
from towers.models.attention import (
    Attention,
    attend_in_window,
    attend_packed,
    has_packed_kernel,
    in_groups,
    window_mask,
)
from towers.models.positions import Rotary

FLOAT64 = {"atol": 1e-12, "rtol": 1e-10}


def with_gradient(function, *inputs):
    """Returns the function's output, and the gradients of a sum of it that tells its entries apart."""
    inputs = [part.detach().clone().requires_grad_() for part in inputs]
    output = function(*inputs)
    generator = torch.Generator().manual_seed(9)
    (output * torch.randn(output.shape, generator=generator, dtype=output.dtype)).sum().backward()
    return output, *(part.grad for part in inputs)


class TestWindow:
    def test_who_attends_to_whom(self):
        """Token 4 with a window of 2 attends to itself, the one before, and the listener's own token."""
        found = window_mask(5, 2, torch.device("cpu")).int().tolist()
        assert found == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 0, 0, 1, 1]]

    @given(tokens=st.integers(1, 40), window=st.integers(1, 45), seed=st.integers(0, 100))
    def test_blocks_equal_full_attention_under_the_mask(self, tokens, window, seed):
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(3, 2, 2, tokens, 4, generator=generator, dtype=torch.float64)
        mask = window_mask(tokens, window, inputs.device)
        expected = with_gradient(lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=mask), *inputs)
        found = with_gradient(lambda q, k, v: attend_in_window(q, k, v, window), *inputs)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, **FLOAT64)

    def test_a_window_over_everything_is_exactly_off(self):
        query_key_value = torch.randn(2, 9, 3, 2, 4)
        off = Attention(rotation=None, window=None)(query_key_value)
        assert torch.equal(Attention(rotation=None, window=9)(query_key_value), off)
        assert not torch.allclose(Attention(rotation=None, window=7)(query_key_value), off)


class TestPacked:
    @given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6))
    def test_packed_tokens_equal_padded_ones(self, lengths):
        length = max(lengths)
        packing = Packing.of(torch.arange(length) >= torch.tensor(lengths)[:, None])
        generator = torch.Generator().manual_seed(len(lengths))
        inputs = torch.randn(3, len(lengths), length + 1, 2, 4, generator=generator, dtype=torch.float64)
        real = torch.cat(
            [row * (length + 1) + torch.arange(events + 1) for row, events in enumerate(lengths)]
        )  # flat places of the tokens that are no padding

        def padded(*parts):
            heads_first = (part.transpose(1, 2) for part in parts)
            attended = scaled_dot_product_attention(*heads_first, is_causal=True).transpose(1, 2)
            return attended.flatten(0, 1)[real]

        def packed(*parts):
            return attend_packed(*(part.flatten(0, 1)[real] for part in parts), packing)

        for one, other in zip(with_gradient(packed, *inputs), with_gradient(padded, *inputs), strict=True):
            torch.testing.assert_close(one, other, **FLOAT64)

    @given(
        lengths=st.lists(st.integers(0, 9), min_size=1, max_size=8),
        window=st.sampled_from([None, 3]),
        group_tokens=st.sampled_from([0, 4, 64]),
    )
    def test_groups_of_like_length_equal_padded_tokens(self, lengths, window, group_tokens):
        length = max(lengths)
        packing = Packing.of(torch.arange(length) >= torch.tensor(lengths)[:, None])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(attention, "GROUP_TOKENS", group_tokens)
            grouped, groups = in_groups(packing)
        assert sum(listeners for listeners, _ in groups) == len(lengths)
        assert [tokens for _, tokens in groups] == sorted((tokens for _, tokens in groups), reverse=True)
        rotation = Rotary(8, 2, 100.0).rotation(torch.arange(length + 1)).double()
        generator = torch.Generator().manual_seed(len(lengths))
        whole = torch.randn(len(lengths), length + 1, 3, 2, 4, generator=generator, dtype=torch.float64)
        positions = torch.cat([row * (length + 1) + torch.arange(events + 1) for row, events in enumerate(lengths)])

        def padded(x):
            return Attention(rotation=rotation, window=window)(x).flatten(0, 1)[positions]

        def in_their_groups(x):
            tokens = torch.cat([x[:, 0], x[:, 1:].flatten(0, 1)[packing.events]])[grouped.source]
            attended = Attention(rotation=rotation, window=window, packing=grouped, groups=groups)(tokens)
            return attended[grouped.tokens_at(positions)]

        for one, other in zip(with_gradient(in_their_groups, whole), with_gradient(padded, whole), strict=True):
            torch.testing.assert_close(one, other, **FLOAT64)

    def test_no_listeners_are_one_empty_group(self):
        packing, groups = in_groups(Packing.of(torch.zeros(0, 5, dtype=torch.bool)))
        nothing = torch.zeros(0, 3, 2, 4)
        assert groups == ((0, 1),)
        assert Attention(rotation=None, window=None, packing=packing, groups=groups)(nothing).shape == (0, 2, 4)

    def test_a_group_ends_where_padding_becomes_too_much(self):
        lengths = torch.tensor([49, 199, 99, 189, 99, 99])
        grouped, groups = in_groups(Packing.of(torch.arange(199) >= lengths[:, None]))
        assert groups == ((2, 200), (4, 100))
        assert grouped.starts.tolist() == [700, 0, 400, 200, 500, 600, 800]

    def test_a_processor_has_no_kernel(self):
        assert not has_packed_kernel(torch.device("cpu"))

    @pytest.mark.gpu
    def test_the_kernel_equals_the_loop(self):
        lengths = torch.tensor([5, 0, 130, 64])
        packing = Packing.of(torch.arange(130) >= lengths[:, None])
        inputs = torch.randn(3, int(packing.starts[-1]), 2, 32).bfloat16()
        expected = with_gradient(lambda *parts: attend_packed(*parts, packing), *inputs.double())

        def on_gpu(*parts):
            return attend_packed(*(part.cuda() for part in parts), packing.to("cuda")).cpu()

        for one, other in zip(with_gradient(on_gpu, *inputs), expected, strict=True):
            torch.testing.assert_close(one.double(), other, atol=KERNEL_TOLERANCE, rtol=KERNEL_TOLERANCE)
