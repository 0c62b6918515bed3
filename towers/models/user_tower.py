"""A listening history to unit vectors: a causal transformer. Knows nothing of ids or stores.

batch: listeners. length: events. tokens: length + 1, the listener's own token first. heads x head_dim = dim.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize, scaled_dot_product_attention, silu

from towers.features.events import NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS

ROTARY_BASE = 10_000.0


class UserTower(nn.Module):
    """State `i` has seen the listener's features and the events before `i`, and predicts event `i`.

    Padding stands on the right, where the causal mask hides it from every event; positions are rotary (Su et al.
    2021, arXiv 2104.09864), so lengths beyond training's are possible.

    Args:
        user_vocabulary_sizes: number of codes of each listener column, 0 (unknown) included.
        num_contexts: number of codes of the context, 0 included.
        content_dim: of the content vectors.
        dim: width of the transformer.
        num_layers: transformer blocks.
        num_heads: attention heads; `dim / num_heads` is even.
        dropout: of embeddings, attention outputs and feed-forward outputs.
    """

    def __init__(
        self,
        user_vocabulary_sizes: tuple[int, ...],
        num_contexts: int,
        content_dim: int,
        dim: int,
        num_layers: int,
        num_heads: int,
        dropout: float,
    ):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        self._content = nn.Linear(content_dim, dim)
        self._action = _embedding(NUM_ACTIONS, dim)
        self._elapsed = _embedding(NUM_ELAPSED_BUCKETS, dim)
        self._played = _embedding(NUM_PLAYED_BUCKETS, dim)
        self._context = _embedding(num_contexts, dim)
        self._user_columns = nn.ModuleList(_embedding(size, dim) for size in user_vocabulary_sizes)
        self._user_base = nn.Parameter(torch.zeros(dim))
        self._dropout = nn.Dropout(dropout)
        self._blocks = nn.ModuleList(_Block(dim, num_heads, dropout) for _ in range(num_layers))
        self._norm = nn.LayerNorm(dim)
        self._out = nn.Linear(dim, content_dim)
        # Unit vectors have components of size dim ** -0.5; the first layer brings them to the size of the rest.
        self._content_scale = content_dim**0.5

    def forward(
        self,
        content_vectors: Float[Tensor, "batch length content_dim"],
        action: Int[Tensor, "batch length"],
        elapsed: Int[Tensor, "batch length"],
        played: Int[Tensor, "batch length"],
        context: Int[Tensor, "batch length"],
        user_codes: Int[Tensor, "batch columns"],
    ) -> Float[Tensor, "batch tokens content_dim"]:
        """Unit vectors: the listener before every event, and after the last.

        Args:
            content_vectors: of the events' contents; zeros where an event has none.
            action: index into `schema.ACTIONS`.
            elapsed: bucket of the time since the event before.
            played: bucket of the played fraction.
            context: code of the context.
            user_codes: codes of the listener's features.
        """
        events = self._content(content_vectors * self._content_scale)
        events = events + self._action(action) + self._elapsed(elapsed) + self._played(played) + self._context(context)
        user = self._user_base.expand(user_codes.shape[0], -1)  # len() would fix the batch size in an export
        for column, embedding in enumerate(self._user_columns):
            user = user + embedding(user_codes[:, column])
        x = self._dropout(torch.cat([user[:, None], events], dim=1))
        rotation = _rotation(x.shape[1], self._blocks[0].head_dim, x.device)  # type: ignore[union-attr, arg-type]
        for block in self._blocks:
            x = block(x, rotation)
        return normalize(self._out(self._norm(x)), dim=-1)


class _Block(nn.Module):
    """Pre-norm attention and a gated feed-forward layer (SwiGLU, Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, dim: int, num_heads: int, dropout: float):
        super().__init__()
        if dim % (2 * num_heads):
            raise ValueError(f"dim {dim} must be a multiple of twice num_heads {num_heads}")
        self._num_heads = num_heads
        self.head_dim = dim // num_heads
        self._attention_norm = nn.LayerNorm(dim)
        self._query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self._attention_out = nn.Linear(dim, dim, bias=False)
        self._feed_forward_norm = nn.LayerNorm(dim)
        self._gate_and_value = nn.Linear(dim, 4 * dim, bias=False)
        self._feed_forward_out = nn.Linear(2 * dim, dim, bias=False)
        self._dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch tokens dim"], rotation: Tensor) -> Float[Tensor, "batch tokens dim"]:
        x = x + self._dropout(self._attend(self._attention_norm(x), rotation))
        gate, value = self._gate_and_value(self._feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self._dropout(self._feed_forward_out(silu(gate) * value))

    def _attend(self, x: Float[Tensor, "batch tokens dim"], rotation: Tensor) -> Float[Tensor, "batch tokens dim"]:
        batch, tokens, dim = x.shape
        heads = self._query_key_value(x).view(batch, tokens, 3, self._num_heads, self.head_dim)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        attended = scaled_dot_product_attention(_rotate(query, rotation), _rotate(key, rotation), value, is_causal=True)
        return self._attention_out(attended.transpose(1, 2).reshape(batch, tokens, dim))


def _embedding(size: int, dim: int) -> nn.Embedding:
    embedding = nn.Embedding(size, dim)
    nn.init.normal_(embedding.weight, std=0.02)
    return embedding


def _rotation(tokens: int, head_dim: int, device: torch.device) -> Float[Tensor, "2 tokens head_dim"]:
    """Cosines and sines of the angles by which positions turn pairs of features."""
    frequencies = ROTARY_BASE ** (-torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    angles = torch.arange(tokens, device=device, dtype=torch.float32)[:, None] * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return torch.stack([angles.cos(), angles.sin()])


def _rotate(x: Float[Tensor, "batch heads tokens head_dim"], rotation: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    cosine, sine = rotation.to(x.dtype).unbind(0)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine
