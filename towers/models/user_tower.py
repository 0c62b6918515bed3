"""User tower: a causal transformer from a listening history to unit vectors. It is independent of ids and stores.

Axes: batch: listeners. length: events. tokens: length + 1, the listener's own token first. events: `batch length` if
histories are padded, all events concatenated if they are packed.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from towers.batch import Packing
from towers.errors import require_counts
from towers.features.events import NUM_ACTIONS, NUM_ELAPSED_BUCKETS, NUM_PLAYED_BUCKETS
from towers.models.attention import Attention, has_packed_kernel, in_groups
from towers.models.blocks import SwiGLUBlock
from towers.models.dropout import Dropout
from towers.models.positions import Positions, Rotary

GATED = partial(SwiGLUBlock, expansion=2)
ROTARY = partial(Rotary, base=10_000.0)


class UserTower(nn.Module):
    """Causal transformer over events; state `i` reads the listener's features and the events before `i`.

    State `i` predicts event `i`. Padding is on the right, where the causal mask hides it from every event. Packed
    histories have no padding; both layouts give the same states.

    Args:
        user_vocabulary_sizes: number of codes of each listener column, 0 (unknown) included.
        num_contexts: number of codes of the context, 0 included.
        content_dim: dimension of the content vectors.
        dim: width of the transformer.
        num_layers: number of transformer blocks.
        num_heads: number of attention heads; divides `dim`.
        dropout: dropout probability of embeddings, and of the outputs of attention and feed-forward layers.
        event_dropout: probability that an event of the history loses its content in training.
        window: number of events to which a state attends in each block, beside the listener's token; None: all.
            Stacked blocks reach further back.
        block: constructor of a block, which takes `dim`, `num_heads` and `dropout`.
        positions: constructor of the position encoding, which takes `dim` and `num_heads`.
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
        event_dropout: float = 0.0,
        window: int | None = None,
        block: Callable[..., nn.Module] = GATED,
        positions: Callable[..., Positions] = ROTARY,
    ):
        super().__init__()
        require_counts(dim=dim, num_layers=num_layers, num_heads=num_heads)
        if not 0 <= event_dropout < 1:
            raise ValueError(f"event_dropout must lie in 0 to 1, 1 excluded, got {event_dropout}")
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1 event, got {window}")
        self._positions = positions(dim=dim, num_heads=num_heads)
        self._content = nn.Linear(content_dim, dim)
        self._action = _embedding(NUM_ACTIONS, dim)
        self._elapsed = _embedding(NUM_ELAPSED_BUCKETS, dim)
        self._played = _embedding(NUM_PLAYED_BUCKETS, dim)
        self._context = _embedding(num_contexts, dim)
        self._user_columns = nn.ModuleList(_embedding(size, dim) for size in user_vocabulary_sizes)
        self._user_base = nn.Parameter(torch.zeros(dim))
        self._dropout = Dropout(dropout)
        self._blocks = nn.ModuleList(block(dim=dim, num_heads=num_heads, dropout=dropout) for _ in range(num_layers))
        self._norm = nn.LayerNorm(dim)
        self._out = nn.Linear(dim, content_dim)
        # Components of unit vectors are of order dim ** -0.5; this scales them to order 1.
        self._content_scale = content_dim**0.5
        self._event_dropout = event_dropout
        self._window = window
        self._head_dim = dim // num_heads

    def row_tables(self, user_columns: Sequence[str]) -> dict[str, str]:
        """Returns, by parameter name, the vocabulary of each parameter that has a row per value of a vocabulary.

        Args:
            user_columns: names of the listeners' features, in their order.
        """
        columns = enumerate(user_columns)
        return {"_context.weight": "context"} | {f"_user_columns.{place}.weight": name for place, name in columns}

    def forward(
        self,
        content_vectors: Float[Tensor, "batch length content_dim"],
        action: Int[Tensor, "batch length"],
        elapsed: Int[Tensor, "batch length"],
        played: Int[Tensor, "batch length"],
        context: Int[Tensor, "batch length"],
        user_codes: Int[Tensor, "batch columns"],
    ) -> Float[Tensor, "batch tokens content_dim"]:
        """Returns unit vectors of the listener before every event, and after the last.

        Args:
            content_vectors: vectors of the events' contents; zeros for an event without content.
            action: index into `schema.ACTIONS`.
            elapsed: bucket of the time since the previous event.
            played: bucket of the played fraction.
            context: code of the context.
            user_codes: codes of the listener's features.
        """
        return self._project(self._transform(content_vectors, (action, elapsed, played, context), user_codes, None))

    def states_at(
        self,
        content_vectors: Float[Tensor, "*events content_dim"],
        action: Int[Tensor, "*events"],
        elapsed: Int[Tensor, "*events"],
        played: Int[Tensor, "*events"],
        context: Int[Tensor, "*events"],
        user_codes: Int[Tensor, "batch columns"],
        positions: Int[Tensor, " positions"],
        packing: Packing | None,
    ) -> Float[Tensor, "positions content_dim"]:
        """Returns the vectors of `forward` at some positions, computing the last norm and projection only there.

        Args:
            content_vectors: vectors of padded events as in `forward`, or of packed events.
            action: actions, padded or packed.
            elapsed: time buckets, padded or packed.
            played: played-fraction buckets, padded or packed.
            context: context codes, padded or packed.
            user_codes: codes of the listener's features.
            positions: flat positions in padded histories, `listener * tokens + event`, also if events are packed.
            packing: layout of packed events; None if they are padded.
        """
        groups = None
        if packing is not None and content_vectors.device.type == "cpu":
            packing, groups = in_groups(packing)
        x = self._transform(content_vectors, (action, elapsed, played, context), user_codes, packing, groups)
        rows = positions if packing is None else packing.tokens_at(positions)
        return self._project(x.flatten(0, -2).index_select(0, rows))

    def packs(self, device: torch.device) -> bool:
        """Returns whether packed histories are faster than padded ones on the device."""
        if device.type == "cpu":
            return not torch.compiler.is_compiling()  # lengths are read, which an export cannot
        return self._window is None and self._head_dim % 8 == 0 and has_packed_kernel(device)

    def _transform(
        self,
        content_vectors: Float[Tensor, "*events content_dim"],
        codes: tuple[Tensor, Tensor, Tensor, Tensor],
        user_codes: Int[Tensor, "batch columns"],
        packing: Packing | None,
        groups: tuple[tuple[int, int], ...] | None = None,
    ) -> Tensor:
        """Returns the tokens after the last block, `[batch, tokens, dim]` or `[packed tokens, dim]`."""
        events, users = self._events(content_vectors, codes), self._users(user_codes)
        if packing is None:
            x = torch.cat([users[:, None], events], dim=1)
            place = torch.arange(x.shape[1], device=x.device)
            rotation = self._positions.rotation(place)
        else:
            x = torch.cat([users, events]).index_select(0, packing.source)
            place = packing.place
            rotation = self._positions.rotation(torch.arange(packing.tokens, device=x.device))
            if rotation is not None and groups is None:
                rotation = rotation.index_select(0, place)
        x = self._dropout(self._positions.encode(x, place))
        attention = Attention(rotation=rotation, window=self._window, packing=packing, groups=groups)
        for block in self._blocks:
            x = block(x, attention)
        return x

    def _events(self, content_vectors: Tensor, codes: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        if self.training and self._event_dropout > 0:
            is_kept = torch.rand(content_vectors.shape[:-1], device=content_vectors.device) >= self._event_dropout
            content_vectors = content_vectors * is_kept[..., None]
        action, elapsed, played, context = codes
        events = self._content(content_vectors * self._content_scale)
        return events + self._action(action) + self._elapsed(elapsed) + self._played(played) + self._context(context)

    def _users(self, user_codes: Int[Tensor, "batch columns"]) -> Float[Tensor, "batch dim"]:
        user = self._user_base.expand(user_codes.shape[0], -1)  # len() would fix the batch size in an export
        for column, embedding in enumerate(self._user_columns):
            user = user + embedding(user_codes[:, column])
        return user

    def _project(self, x: Float[Tensor, "*tokens dim"]) -> Float[Tensor, "*tokens content_dim"]:
        return normalize(self._out(self._norm(x)), dim=-1)


def _embedding(size: int, dim: int) -> nn.Embedding:
    embedding = nn.Embedding(size, dim)
    nn.init.normal_(embedding.weight, std=0.02)
    return embedding
