"""Transformer blocks of the user tower: classes with one constructor `(dim, num_heads, dropout, ...)`.

A block is called with tokens and with the attention among them, so it is independent of positions and padding. To add
one, write a class here or elsewhere, and a file in configs/user_tower.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import silu

from towers.errors import require_counts
from towers.models.dropout import Dropout

Attend: TypeAlias = Callable[[Tensor], Tensor]
"""Attention from queries, keys and values `[*tokens, 3, heads, head_dim]` to outputs `[*tokens, heads, head_dim]`."""


class SwiGLUBlock(nn.Module):
    """Pre-norm attention and a gated feed-forward layer (SwiGLU, Shazeer 2020, arXiv 2002.05202), without biases.

    `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.

    Args:
        dim: width of the transformer.
        num_heads: attention heads; divides `dim`.
        dropout: dropout probability of the outputs of attention and feed-forward layer.
        expansion: width of the feed-forward layer, in multiples of `dim`.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float, expansion: int):
        super().__init__()
        self._attention_norm = nn.LayerNorm(dim)
        self._attention = SelfAttention(dim, num_heads)
        self._feed_forward_norm = nn.LayerNorm(dim)
        self._feed_forward = SwiGLU(dim, expansion)
        self._dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*tokens dim"], attend: Attend) -> Float[Tensor, "*tokens dim"]:
        """Returns the tokens after the block."""
        x = x + self._dropout(self._attention(self._attention_norm(x), attend))
        return x + self._dropout(self._feed_forward(self._feed_forward_norm(x)))


class LiGRBlock(nn.Module):
    """A `SwiGLUBlock` with residual gates (LiGR, arXiv 2502.03417; in SASRec's place: eSASRec, arXiv 2508.06450).

    `x + sigmoid(W norm(x) + b) * layer(norm(x))`, for attention and for the feed-forward layer. With open gates (large
    `b`) it equals `SwiGLUBlock`. The gates of RecTools read `x` before the norm.

    Args:
        dim: width of the transformer.
        num_heads: attention heads; divides `dim`.
        dropout: dropout probability of the outputs of attention and feed-forward layer.
        expansion: width of the feed-forward layer, in multiples of `dim`.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float, expansion: int):
        super().__init__()
        self._attention_norm = nn.LayerNorm(dim)
        self._attention_gate = nn.Linear(dim, dim)
        self._attention = SelfAttention(dim, num_heads)
        self._feed_forward_norm = nn.LayerNorm(dim)
        self._feed_forward_gate = nn.Linear(dim, dim)
        self._feed_forward = SwiGLU(dim, expansion)
        self._dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*tokens dim"], attend: Attend) -> Float[Tensor, "*tokens dim"]:
        """Returns the tokens after the block."""
        normed = self._attention_norm(x)
        x = x + torch.sigmoid(self._attention_gate(normed)) * self._dropout(self._attention(normed, attend))
        normed = self._feed_forward_norm(x)
        return x + torch.sigmoid(self._feed_forward_gate(normed)) * self._dropout(self._feed_forward(normed))


class SASRecBlock(nn.Module):
    """Pre-norm attention and a point-wise feed-forward layer (Kang and McAuley 2018, arXiv 1808.09781, section III-B).

    `x + attention(norm(x))`, then `x + W2 activation(W1 norm(x) + b1) + b2`.

    Args:
        dim: width of the transformer.
        num_heads: attention heads; divides `dim`.
        dropout: dropout probability of the outputs of attention and feed-forward layer, and within the latter.
        expansion: width of the feed-forward layer, in multiples of `dim`; 1 in the paper.
        activation: activation of the feed-forward layer; relu in the paper.
    """

    def __init__(
        self, dim: int, num_heads: int, dropout: float, expansion: int, activation: Literal["relu", "gelu", "silu"]
    ):
        super().__init__()
        require_counts(expansion=expansion)
        self._attention_norm = nn.LayerNorm(dim)
        self._attention = SelfAttention(dim, num_heads)
        self._feed_forward_norm = nn.LayerNorm(dim)
        self._feed_forward_in = nn.Linear(dim, expansion * dim)
        self._feed_forward_out = nn.Linear(expansion * dim, dim)
        self._activation: Callable[[Tensor], Tensor] = getattr(functional, activation)
        self._dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "*tokens dim"], attend: Attend) -> Float[Tensor, "*tokens dim"]:
        """Returns the tokens after the block."""
        x = x + self._dropout(self._attention(self._attention_norm(x), attend))
        hidden = self._activation(self._feed_forward_in(self._feed_forward_norm(x)))
        return x + self._dropout(self._feed_forward_out(self._dropout(hidden)))


class SelfAttention(nn.Module):
    """The projections around attention: one for queries, keys and values together, one for the output.

    Args:
        dim: width of the transformer.
        num_heads: attention heads; divides `dim`.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"dim {dim} must be a multiple of num_heads {num_heads}")
        self._shape = (3, num_heads, dim // num_heads)
        self._query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self._out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "*tokens dim"], attend: Attend) -> Float[Tensor, "*tokens dim"]:
        """Returns the values to add to the tokens."""
        return self._out(attend(self._query_key_value(x).unflatten(-1, self._shape)).flatten(-2))


class SwiGLU(nn.Module):
    """`W_out (silu(W_gate x) * W_value x)` (Shazeer 2020, arXiv 2002.05202, eq. 6).

    Args:
        dim: dimension of input and output.
        expansion: hidden width, in multiples of `dim`.
    """

    def __init__(self, dim: int, expansion: int):
        super().__init__()
        require_counts(expansion=expansion)
        self._gate_and_value = nn.Linear(dim, 2 * expansion * dim, bias=False)
        self._out = nn.Linear(expansion * dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "*tokens dim"]) -> Float[Tensor, "*tokens dim"]:
        """Returns the values to add to the tokens."""
        gate, value = self._gate_and_value(x).chunk(2, dim=-1)
        return self._out(silu(gate) * value)
