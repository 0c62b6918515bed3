"""Position encodings of the user tower: classes with one constructor `(dim, num_heads, ...)` and two methods."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from towers.errors import require_counts


class Positions(nn.Module, ABC):
    """Position encoding that is added to tokens, rotates queries and keys, or both."""

    @abstractmethod
    def encode(self, x: Float[Tensor, "*batch tokens dim"], place: Int[Tensor, " tokens"]) -> Tensor:
        """Returns the tokens with their positions added.

        Args:
            x: tokens before the first block.
            place: position of each token in its own history; 0 is the listener's own token.
        """

    @abstractmethod
    def rotation(self, place: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens pairs 2"] | None:
        """Returns cosines and sines that rotate pairs of features of queries and keys; None without rotation."""


class Rotary(Positions):
    """Rotary position encoding (Su et al. 2021, arXiv 2104.09864, eq. 15).

    Attention scores depend only on distances, so histories may be longer than in training.

    Args:
        dim: width of the transformer.
        num_heads: attention heads; `dim / num_heads` is even.
        base: base of the geometric series of wavelengths, the longest of which is about `2 pi base` tokens.
    """

    def __init__(self, dim: int, num_heads: int, base: float):
        super().__init__()
        if num_heads < 1 or dim % (2 * num_heads):
            raise ValueError(f"dim {dim} must be a multiple of twice num_heads {num_heads}")
        if base <= 1:
            raise ValueError(f"base must be above 1, got {base}")
        self._head_dim = dim // num_heads
        self._base = base

    def encode(self, x: Float[Tensor, "*batch tokens dim"], place: Int[Tensor, " tokens"]) -> Tensor:
        """Returns the tokens unchanged."""
        return x

    def rotation(self, place: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens pairs 2"]:
        """Returns cosines and sines of angles proportional to the position."""
        steps = torch.arange(0, self._head_dim, 2, device=place.device, dtype=torch.float32)
        angles = place.float()[:, None] * self._base ** (-steps / self._head_dim)
        return torch.stack([angles.cos(), angles.sin()], dim=-1)


class Learned(Positions):
    """Trained vector for each position, added to the token (Kang and McAuley 2018, arXiv 1808.09781, section III-A).

    Positions are counted from the start: if they were counted from the end, an event's position would change with every
    later event, and one pass could not give the states at all events. Positions beyond `max_length` share the last
    vector, so longer histories are possible, but the order of their later events is lost.

    Args:
        dim: width of the transformer.
        num_heads: number of attention heads, not used here.
        max_length: number of events with a position of their own.
    """

    def __init__(self, dim: int, num_heads: int, max_length: int):
        super().__init__()
        require_counts(max_length=max_length)
        self._max_length = max_length
        self._vectors = nn.Embedding(max_length + 1, dim)  # the listener's own token has the first
        nn.init.normal_(self._vectors.weight, std=0.02)

    def encode(self, x: Float[Tensor, "*batch tokens dim"], place: Int[Tensor, " tokens"]) -> Tensor:
        """Returns the tokens with the vectors of their positions added."""
        return x + self._vectors(place.clamp(max=self._max_length))

    def rotation(self, place: Int[Tensor, " tokens"]) -> None:
        """Returns None, as there is no rotation."""
        return
