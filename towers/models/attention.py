"""Causal attention among the tokens of each listener, for padded and packed layouts. It has no weights.

Axes: tokens: those of a padded history, or of all listeners concatenated if they are packed.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from towers.batch import Packing


def _packed_kernel() -> Callable[..., Tensor] | None:
    """Returns torch's causal attention over sequences of different lengths; None for torch 2.9, which lacks it."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    kernel: Callable[..., Any] = varlen_attn
    # Torch 2.10 has a flag for causal attention; later versions use a window of all tokens before and none after.
    if "is_causal" in inspect.signature(kernel).parameters:
        return partial(kernel, is_causal=True)
    return partial(kernel, window_size=(-1, 0))


PACKED_KERNEL = _packed_kernel()
GROUP_TOKENS = 64
"""Number of padding tokens that cost as much as an additional group."""
HALVES = (torch.bfloat16, torch.float16)
"""Data types that the kernel for packed tokens supports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Causal attention: token `i` attends to the tokens of its listener up to and including `i`.

    Args:
        rotation: cosines and sines that rotate pairs of neighbouring features of queries and keys, for each token, or
            for each position if there are groups; None: no rotation.
        window: number of tokens to attend to, including the token itself, beside the listener's own token; None: all.
        packing: layout of packed tokens; None if they are padded.
        groups: number of listeners and of tokens per listener in each group of consecutive listeners, if packed tokens
            are padded within groups; None if they are not.
    """

    rotation: Float[Tensor, "tokens pairs 2"] | None
    window: int | None
    packing: Packing | None = None
    groups: tuple[tuple[int, int], ...] | None = None

    def __call__(
        self, query_key_value: Float[Tensor, "*batch tokens 3 heads head_dim"]
    ) -> Float[Tensor, "*batch tokens heads head_dim"]:
        """Returns the attention output of each token and head."""
        if self.groups is not None:
            return self._attend_in_groups(query_key_value, self.groups)
        if self.rotation is None:
            query, key, value = query_key_value.unbind(-3)
        else:
            query_key, value = query_key_value.split([2, 1], dim=-3)
            query, key = turn(query_key, self.rotation).unbind(-3)
            value = value.squeeze(-3)
        if self.packing is not None:
            return attend_packed(query, key, value, self.packing)
        query, key, value = (part.transpose(-2, -3) for part in (query, key, value))
        if self.window is None:
            attended = scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            attended = attend_in_window(query, key, value, self.window)
        return attended.transpose(-2, -3)

    def _attend_in_groups(
        self, query_key_value: Float[Tensor, "tokens 3 heads head_dim"], groups: tuple[tuple[int, int], ...]
    ) -> Float[Tensor, "tokens heads head_dim"]:
        attended = []
        parts = query_key_value.split([listeners * tokens for listeners, tokens in groups])
        for (listeners, tokens), part in zip(groups, parts, strict=True):
            rotation = None if self.rotation is None else self.rotation[:tokens]
            padded = Attention(rotation=rotation, window=self.window)
            attended.append(padded(part.unflatten(0, (listeners, tokens))).flatten(0, 1))
        return torch.cat(attended) if len(attended) > 1 else attended[0]


def turn(
    x: Float[Tensor, "*batch tokens parts heads head_dim"], rotation: Float[Tensor, "tokens pairs 2"]
) -> Float[Tensor, "*batch tokens parts heads head_dim"]:
    """Rotates pairs of neighbouring features, as points of a plane, by their token's angles.

    It is one complex product. In half precision and in an export, which have no complex numbers, it takes five passes
    with real numbers.
    """
    rotation = rotation[:, None, None].to(x.dtype)
    pairs = x.unflatten(-1, (-1, 2))
    if x.dtype in HALVES or torch.compiler.is_compiling():
        (first, second), (cosine, sine) = pairs.unbind(-1), rotation.unbind(-1)
        turned = torch.stack([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(rotation))
    return turned.flatten(-2)


def attend_in_window(
    query: Float[Tensor, "batch heads tokens head_dim"],
    key: Float[Tensor, "batch heads tokens head_dim"],
    value: Float[Tensor, "batch heads tokens head_dim"],
    window: int,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Computes causal attention to the last `window` tokens and the first one, at a cost of tokens times window.

    Tokens are cut into blocks of `window`. A block's queries attend to the first token, the previous block and their
    own block, under a mask. With `window >= tokens` it equals full causal attention. It always equals full attention
    under `window_mask`, which an export computes because histories are short there.
    """
    if torch.compiler.is_compiling():
        mask = window_mask(query.shape[2], window, query.device)
        return scaled_dot_product_attention(query, key, value, attn_mask=mask)
    batch, heads, tokens, head_dim = query.shape
    if tokens <= window:
        return scaled_dot_product_attention(query, key, value, is_causal=True)
    blocks = -(-tokens // window)
    own_query, own_key, own_value = (
        pad(part, (0, 0, 0, blocks * window - tokens)).reshape(batch * heads, blocks, window, head_dim)
        for part in (query, key, value)
    )
    keys, values = (
        torch.cat([own[:, :1, :1].expand(-1, blocks, -1, -1), pad(own[:, :-1], (0, 0, 0, 0, 1, 0)), own], dim=2)
        for own in (own_key, own_value)
    )
    attended = scaled_dot_product_attention(
        own_query, keys, values, attn_mask=_block_mask(blocks, window, query.device)
    )
    return attended.reshape(batch, heads, blocks * window, head_dim)[:, :, :tokens]


def window_mask(tokens: int, window: int, device: torch.device) -> Bool[Tensor, "tokens tokens"]:
    """Returns which tokens (rows) attend to which (columns): to the last `window`, with themselves, and the first."""
    places = torch.arange(tokens, device=device)
    distance = places[:, None] - places
    return (distance >= 0) & ((distance < window) | (places == 0))


def _block_mask(blocks: int, window: int, device: torch.device) -> Bool[Tensor, "blocks window keys"]:
    """Returns `window_mask` for a block's queries, with the first token, the previous block and the block as keys.

    The first block has no previous block, and contains the first token itself.
    """
    query = torch.arange(window, device=device)[:, None]
    key = torch.arange(-window, window, device=device)
    is_near = (key <= query) & (query - key < window)
    mask = pad(is_near, (1, 0), value=True).expand(blocks, -1, -1).clone()
    mask[0, :, : window + 1] = False
    return mask


def attend_packed(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens heads head_dim"],
    value: Float[Tensor, "tokens heads head_dim"],
    packing: Packing,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Computes causal attention within each listener's tokens: by the fused kernel on CUDA, by a loop on the CPU.

    The loop is the reference for the kernel, and only for tests. Training on the CPU uses `in_groups`.
    """
    if query.device.type == "cuda":
        assert PACKED_KERNEL is not None
        return PACKED_KERNEL(query, key, value, packing.starts, packing.starts, packing.tokens, packing.tokens)
    ends = packing.starts[1:-1].tolist()
    stretches = zip(*(part.transpose(0, 1).tensor_split(ends, dim=1) for part in (query, key, value)), strict=True)
    attended = [scaled_dot_product_attention(*stretch, is_causal=True) for stretch in stretches]
    return torch.cat(attended, dim=1).transpose(0, 1)


def in_groups(packing: Packing) -> tuple[Packing, tuple[tuple[int, int], ...]]:
    """Groups packed tokens of listeners with similar lengths, padded within each group; for the CPU.

    Attention on the CPU needs sequences of equal length, and padding costs time. Listeners are sorted by length, and a
    group ends when its padding would exceed a sixteenth of it and the cost of another group. A listener's tokens stay
    contiguous; `place` and `source` of padding repeat those of the listener's last token.

    Args:
        packing: layout of packed tokens, on the CPU.

    Returns:
        The new layout, and the number of listeners and of tokens per listener in each group.
    """
    starts = packing.starts.numpy().astype(np.int64)
    lengths = np.diff(starts)
    order = np.argsort(-lengths, kind="stable")
    groups, first, padding = [], 0, 0
    for place, length in enumerate(lengths[order].tolist()):
        longest = int(lengths[order[first]])
        padding += longest - length
        if padding > max(GROUP_TOKENS, (place - first) * longest // 16):
            groups.append((place - first, longest))
            first, padding = place, 0
    groups.append((len(order) - first, int(lengths[order[first]]) if len(order) else 1))
    width = np.repeat([tokens for _, tokens in groups], [listeners for listeners, _ in groups])
    begin = np.cumsum(width) - width
    place = np.arange(int(width.sum())) - np.repeat(begin, width)
    token = np.repeat(starts[:-1][order], width) + np.minimum(place, np.repeat(lengths[order] - 1, width))
    moved = np.empty(len(starts), np.int32)
    moved[order], moved[-1] = begin, len(place)
    return (
        replace(
            packing,
            source=packing.source.index_select(0, torch.from_numpy(token)),
            place=torch.from_numpy(place),
            starts=torch.from_numpy(moved),
        ),
        tuple(groups),
    )


def has_packed_kernel(device: torch.device) -> bool:
    """Returns whether `attend_packed` is fast on a device: on CUDA from compute capability 8.0 and torch 2.10 on, in
    autocast to half precision."""
    return (
        device.type == "cuda"
        and PACKED_KERNEL is not None
        and torch.is_autocast_enabled("cuda")
        and torch.get_autocast_dtype("cuda") in HALVES
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )
