"""How a token knows its place in the history: classes with one constructor `(dim, num_heads, ...)` and two methods."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from towers.errors import require_counts


class Positions(nn.Module, ABC):
    """Adds places to tokens, or turns queries and keys by them, or both."""

    @abstractmethod
    def encode(self, x: Float[Tensor, "*batch tokens dim"], place: Int[Tensor, " tokens"]) -> Tensor:
        """The tokens, knowing their places.

        Args:
            x: tokens before the first block.
            place: of each token in its own history, from 0, which is the listener's own token.
        """

    @abstractmethod
    def rotation(self, place: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens pairs 2"] | None:
        """Cosine and sine by which pairs of features of queries and keys are turned; None where they are not."""


class Rotary(Positions):
    """Scores depend on the distance alone, so lengths beyond training's are possible.

    Su et al. 2021, arXiv 2104.09864, eq. 15.

    Args:
        dim: width of the transformer.
        num_heads: attention heads; `dim / num_heads` is even.
        base: of the geometric series of wavelengths; the longest is about `2 pi base` tokens.
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
        """The tokens as they are."""
        return x

    def rotation(self, place: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens pairs 2"]:
        """Angles that grow with the place."""
        steps = torch.arange(0, self._head_dim, 2, device=place.device, dtype=torch.float32)
        angles = place.float()[:, None] * self._base ** (-steps / self._head_dim)
        return torch.stack([angles.cos(), angles.sin()], dim=-1)


class Learned(Positions):
    """A trained vector for each place, added to the token (Kang and McAuley 2018, arXiv 1808.09781, section III-A).

    Places are counted from the start: counted from the end, an event's place would change with every event that
    follows, and no state could be read off a longer history. What stands beyond the last place shares its vector, so
    longer histories are possible, but their order is known up to `max_length` alone.

    Args:
        dim: width of the transformer.
        num_heads: attention heads, which do not matter here.
        max_length: events that have a place of their own.
    """

    def __init__(self, dim: int, num_heads: int, max_length: int):
        super().__init__()
        require_counts(max_length=max_length)
        self._max_length = max_length
        self._vectors = nn.Embedding(max_length + 1, dim)  # the listener's own token has the first
        nn.init.normal_(self._vectors.weight, std=0.02)

    def encode(self, x: Float[Tensor, "*batch tokens dim"], place: Int[Tensor, " tokens"]) -> Tensor:
        """The tokens, each with its place's vector added."""
        return x + self._vectors(place.clamp(max=self._max_length))

    def rotation(self, place: Int[Tensor, " tokens"]) -> None:
        """None: nothing is turned."""
        return
